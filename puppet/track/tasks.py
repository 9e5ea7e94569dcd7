"""MediaPipe Tasks' FaceLandmarker, for Python 3.13 and later: needs a model file.

Releases of MediaPipe after 0.10.21 carry no models; the user downloads one file once.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from puppet.contract import N_LANDMARKS, Landmarks, Rgb, TrackerError
from puppet.system import data_dir, expanded, explain_import_error
from puppet.track.quiet import quiet_environment, without_chatter

MODEL_NAME = "face_landmarker.task"
MODEL_VARIABLE = "PUPPET_FACE_MODEL"
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
    "float16/1/face_landmarker.task"
)
_MODEL_BYTES_LIMIT = 64 << 20
_LANDMARKS_PART = "face_landmarks_detector.tflite"


def model_path() -> Path:
    """Where the model file is expected, whether or not it is there."""
    chosen = os.environ.get(MODEL_VARIABLE)
    return expanded(chosen) if chosen else data_dir() / "models" / MODEL_NAME


def read_model() -> bytes:
    """The model file's content; TrackerError tells where to get it and where to put it."""
    path = model_path()
    try:
        if path.stat().st_size > _MODEL_BYTES_LIMIT:
            raise TrackerError(f"{path} is far too big to be MediaPipe's {MODEL_NAME}.")
        content = path.read_bytes()
    except OSError as error:
        raise TrackerError(
            f"The face model is not at {path} ({error.strerror or error}). This version of "
            f"MediaPipe comes without it: download {MODEL_URL} once and put it there, or set "
            f"{MODEL_VARIABLE} to the file. With Python 3.10 to 3.12 no download is needed."
        ) from error
    if not _is_bundle(content):
        raise TrackerError(
            f"{path} is not MediaPipe's {MODEL_NAME} (an error page saved as a file?). "
            f"Download it again from {MODEL_URL}."
        )
    return content


def _is_bundle(content: bytes) -> bool:
    """A .task file is a zip archive, though Google's begins with two bytes of padding."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _LANDMARKS_PART in archive.namelist()
    except zipfile.BadZipFile:
        return False


class TasksMesh:
    """`mediapipe.tasks.vision.FaceLandmarker` behind the Mesh contract."""

    name = "mediapipe face landmarker"

    def __init__(self, *, still: bool, max_faces: int, confidence: float = 0.5) -> None:
        content = read_model()
        quiet_environment()
        try:
            import mediapipe
            from mediapipe.tasks import python as tasks
            from mediapipe.tasks.python import vision
        except ImportError as error:
            raise TrackerError(explain_import_error(error)) from error
        self._mediapipe = mediapipe
        self._still = still
        self._last_ms = -1
        self._calls_to_hush = 3
        mode = vision.RunningMode.IMAGE if still else vision.RunningMode.VIDEO
        options = vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=content),
            running_mode=mode,
            num_faces=max_faces,
            min_face_detection_confidence=confidence,
        )
        with without_chatter():
            try:
                self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)
            except (RuntimeError, ValueError) as error:
                raise TrackerError(
                    f"MediaPipe could not open the face model {model_path()}: {error}"
                ) from error

    def find(self, rgb: Rgb, time_ns: int) -> list[Landmarks]:
        if self._landmarker is None:
            raise TrackerError("The face tracker is closed.")
        if self._calls_to_hush > 0:
            with without_chatter():
                found = self._detect(rgb, time_ns)
            self._calls_to_hush -= bool(found)
        else:
            found = self._detect(rgb, time_ns)
        height, width = rgb.shape[:2]
        scale = np.array([width, height, width], np.float32)  # z is in units of the width
        faces = []
        for face in found:
            points = np.array([(p.x, p.y, p.z) for p in face], np.float32)
            if points.shape != (N_LANDMARKS, 3):
                raise TrackerError(
                    f"{model_path()} gives {len(points)} landmarks instead of {N_LANDMARKS}: "
                    f"it is another model. Download {MODEL_URL}."
                )
            faces.append(Landmarks(points * scale, width, height))
        return faces

    def _detect(self, rgb: Rgb, time_ns: int) -> Any:
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(rgb)
        )
        if self._still:
            return self._landmarker.detect(image).face_landmarks
        # The library refuses a time stamp that is not later than the last, in whole ms.
        self._last_ms = max(self._last_ms + 1, time_ns // 1_000_000)
        return self._landmarker.detect_for_video(image, self._last_ms).face_landmarks

    def close(self) -> None:
        landmarker, self._landmarker = self._landmarker, None
        if landmarker is not None:
            landmarker.close()
