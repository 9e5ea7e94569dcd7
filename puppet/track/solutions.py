"""MediaPipe 0.10.21's Face Mesh "solution": its models come inside the wheel.

Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs, CVPR
workshop 2019 (the mesh); Grishchenko et al., Attention Mesh, CVPR workshop 2020 (lips, eyes and
irises, `refine_landmarks`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from puppet.contract import N_LANDMARKS, Landmarks, Rgb, TrackerError
from puppet.system import explain_import_error
from puppet.track.quiet import quiet_environment, without_chatter

# One landmark on the wire: a length-delimited field of three fixed 32-bit floats.
_WIRE = np.dtype(
    [
        ("head", "u1", 2),
        *(("tx", "u1"), ("x", "<f4")),
        *(("ty", "u1"), ("y", "<f4")),
        *(("tz", "u1"), ("z", "<f4")),
    ]
)
_WIRE_TAGS = (0x0A, 15, 0x0D, 0x15, 0x1D)


class SolutionsMesh:
    """`mediapipe.solutions.face_mesh` behind the Mesh contract."""

    name = "mediapipe face mesh"

    def __init__(self, *, still: bool, max_faces: int, confidence: float = 0.5) -> None:
        face_mesh = _import_face_mesh()
        self._calls_to_hush = 3
        with without_chatter():
            self._graph: Any = face_mesh.FaceMesh(
                static_image_mode=still,
                max_num_faces=max_faces,
                refine_landmarks=True,
                min_detection_confidence=confidence,
                min_tracking_confidence=0.5,
            )
            # The first pass prepares the models (tens of ms): better now than on a live frame.
            self._graph.process(np.zeros((64, 64, 3), np.uint8))

    def find(self, rgb: Rgb, time_ns: int) -> list[Landmarks]:
        if self._graph is None:
            raise TrackerError("The face tracker is closed.")
        if self._calls_to_hush > 0:
            with without_chatter():
                found = self._graph.process(rgb).multi_face_landmarks
            self._calls_to_hush -= bool(found)
        else:
            found = self._graph.process(rgb).multi_face_landmarks
        height, width = rgb.shape[:2]
        return [landmarks_from_message(face, width, height) for face in found or ()]

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()


def _import_face_mesh() -> Any:
    quiet_environment()
    try:
        from mediapipe.python.solutions import face_mesh
    except ImportError as error:
        raise TrackerError(explain_import_error(error)) from error
    return face_mesh


def landmarks_from_message(message: Any, width: int, height: int) -> Landmarks:
    """NormalizedLandmarkList -> Landmarks; reads the wire form, 10 times faster than 478 objects.

    Raises TrackerError unless there are 478 points.
    """
    wire = np.frombuffer(message.SerializeToString(), np.uint8)
    points: NDArray[np.float32] | None = None
    if wire.size == N_LANDMARKS * _WIRE.itemsize:
        rows = wire.view(_WIRE)
        tags = (rows["head"][:, 0], rows["head"][:, 1], rows["tx"], rows["ty"], rows["tz"])
        if all(bool((tag == want).all()) for tag, want in zip(tags, _WIRE_TAGS, strict=True)):
            points = np.stack([rows["x"], rows["y"], rows["z"]], axis=1)
    if points is None:
        points = np.array([(p.x, p.y, p.z) for p in message.landmark], np.float32)
    if points.shape != (N_LANDMARKS, 3):
        raise TrackerError(
            f"MediaPipe gave {len(points)} landmarks instead of {N_LANDMARKS}: "
            "this version of it is not the one this program was made for."
        )
    points = points * np.array([width, height, width], np.float32)  # z is in units of the width
    return Landmarks(np.ascontiguousarray(points, np.float32), width, height)
