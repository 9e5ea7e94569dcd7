"""From a driver's frame to the 478 landmarks of one face, and how light it is between the lips.

`open_tracker` for the live loop, `find_faces` for stills, `settle_face` for a face of a still that
is known already, `puppet.track.presence` for what to show while there is no face.
"""

from __future__ import annotations

from puppet.contract import Landmarks, Rgb, Tracker, TrackerError
from puppet.track.follow import FollowingTracker
from puppet.track.mesh import Mesh

__all__ = ["find_faces", "open_tracker", "settle_face"]


def open_tracker(*, still: bool = False, max_faces: int = 4) -> Tracker:
    """The tracker for this Python: MediaPipe's bundled face mesh, else the Tasks landmarker.

    One face is followed. When it is taken up or lost, up to `max_faces` faces are weighed: the
    largest at first, then the one nearest to where the driver was. `max_faces=1` skips that.
    `still`: every frame is searched anew (pictures that do not follow one another).

    Raises TrackerError with a remedy when the tracker cannot run here.
    """
    if max_faces < 1:
        raise ValueError(f"max_faces must be at least 1, got {max_faces}")
    video = open_mesh(still=still, max_faces=1, confidence=0.5)
    everyone = open_mesh(still=True, max_faces=max_faces, confidence=0.5) if max_faces > 1 else None
    return FollowingTracker(video, everyone)


def find_faces(rgb: Rgb) -> list[Landmarks]:
    """All faces of a still picture ((H, W, 3) uint8), largest first; empty when there is none.

    Takes longer than a tracker (up to a second when nothing is found at first) and tries
    harder: margins, tiles, contrast. Raises TrackerError when the tracker cannot run here.
    """
    from puppet.track.stills import MAX_FACES, search_faces

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype.name != "uint8" or rgb.size == 0:
        raise ValueError(f"expected (H, W, 3) uint8, got {rgb.dtype} of shape {rgb.shape}")
    mesh = open_mesh(still=True, max_faces=MAX_FACES, confidence=0.5)
    try:
        found = search_faces(mesh, rgb)
    finally:
        mesh.close()
    return [settle_face(rgb, face) for face in found]


def settle_face(rgb: Rgb, face: Landmarks) -> Landmarks:
    """One face of a still picture, measured as a driver's is; `face` is where it was found."""
    from puppet.track.stills import settle_face as settle

    return settle(open_mesh, rgb, face)


def open_mesh(*, still: bool, max_faces: int, confidence: float) -> Mesh:
    """A bare mesh of the library that is installed."""
    if has_bundled_models():
        from puppet.track.solutions import SolutionsMesh

        return SolutionsMesh(still=still, max_faces=max_faces, confidence=confidence)
    from puppet.track.tasks import TasksMesh

    return TasksMesh(still=still, max_faces=max_faces, confidence=confidence)


def has_bundled_models() -> bool:
    """Whether the MediaPipe here carries its models (0.10.21) or wants a model file."""
    from importlib.util import find_spec

    try:
        spec = find_spec("mediapipe")
    except (ImportError, ValueError) as error:
        raise TrackerError(f"MediaPipe cannot be looked up: {error}") from error
    if spec is None or not spec.submodule_search_locations:
        raise TrackerError(
            "The Python package 'mediapipe' is missing. Reinstall with "
            "'pip install --force-reinstall webcam-puppet'."
        )
    from pathlib import Path

    root = Path(next(iter(spec.submodule_search_locations)))
    return (root / "modules" / "face_landmark" / "face_landmark_front_cpu.binarypb").is_file()
