"""Cameras by name, on every platform, as well as the platform allows."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from puppet.capture import v4l2
from puppet.contract import SourceError

_VIRTUAL_NAMES = ("obs virtual camera", "unity video capture")
"""What pyvirtualcam can send to on Windows and macOS."""

_WITHOUT_CAMERA = (
    "plug one in, or drive the portrait with a video file (--camera clip.mp4) or with 'demo'"
)


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that can be opened."""

    index: int
    """OpenCV's number for it; on Linux the N of /dev/videoN."""
    name: str
    path: str | None
    """The device file (Linux), else None."""
    is_virtual_output: bool
    """A virtual camera that programs send to: perhaps this program's own output."""
    bus: str = ""
    """Where it is plugged in, where known: finds the same camera again."""

    def __str__(self) -> str:
        return f"{self.index}: {self.name}"


def list_cameras() -> list[CameraInfo]:
    """All cameras that can be opened now, by number. Does not open them for pictures.

    Linux: from the kernel. Windows and macOS: from the package cv2-enumerate-cameras; without
    it the list is empty and cameras are opened by number only (`can_list_cameras` says so).
    """
    if sys.platform.startswith("linux"):
        return [_from_node(node) for node in v4l2.list_nodes() if node.captures]
    return _list_with_library()


def by_name(cameras: Iterable[CameraInfo]) -> dict[str, CameraInfo]:
    """The cameras by name; where several carry one, its number stands behind it."""
    listed = list(cameras)
    several = {name for name, count in Counter(c.name for c in listed).items() if count > 1}
    return {f"{c.name} ({c.index})" if c.name in several else c.name: c for c in listed}


def can_list_cameras() -> bool:
    """Whether an empty list means that there is no camera."""
    if sys.platform.startswith("linux"):
        return True
    from importlib.util import find_spec

    return find_spec("cv2_enumerate_cameras") is not None


def default_camera() -> CameraInfo:
    """The first camera that is not somebody's virtual output. Raises SourceError."""
    cameras = list_cameras()
    real = [c for c in cameras if not c.is_virtual_output]
    if real:
        return real[0]
    if not can_list_cameras():
        return CameraInfo(0, "camera 0", None, False)
    raise SourceError(f"no camera found: {_WITHOUT_CAMERA}")


def find_camera(spec: str) -> CameraInfo:
    """By number, device file or name (any case; a part of the name will do if only one has it).

    Raises SourceError that lists what there is.
    """
    cameras = list_cameras()
    if spec.isdecimal():
        found = next((c for c in cameras if c.index == int(spec)), None)
        if found is not None:
            return found
        if not can_list_cameras() and int(spec) < 100:
            return CameraInfo(int(spec), f"camera {spec}", None, False)
        if sys.platform.startswith("linux") and (node := v4l2.query(f"/dev/video{spec}")):
            raise SourceError(f"cannot use camera {spec} ({node.name}): {v4l2.why_not(node.path)}")
        raise SourceError(f"there is no camera {spec}{_known(cameras)}")
    if spec.startswith("/dev/"):
        node = v4l2.query(spec)
        if node is None or not node.captures:
            raise SourceError(f"cannot use {spec}: {v4l2.why_not(spec)}{_known(cameras)}")
        return _from_node(node)
    return _by_name(spec, cameras)


def find_again(camera: CameraInfo) -> CameraInfo:
    """The same camera after it was away: its number may be another one now.

    Raises SourceError while it is not there.
    """
    if not can_list_cameras():
        return camera
    cameras = list_cameras()
    namesakes = [c for c in cameras if c.name == camera.name]
    for same in (
        [c for c in namesakes if c.bus == camera.bus],
        [c for c in namesakes if c.index == camera.index],
        namesakes,
    ):
        if same:
            return same[0]
    raise SourceError(f"{camera.name} is not plugged in; waiting for it to come back")


def _by_name(name: str, cameras: list[CameraInfo]) -> CameraInfo:
    wanted = name.casefold()
    exact = [
        camera
        for listed, camera in by_name(cameras).items()
        if wanted in (listed.casefold(), camera.name.casefold())
    ]
    partly = [c for c in cameras if wanted and wanted in c.name.casefold()]
    for found in (exact, partly):
        # A virtual output may carry its camera's name.
        choice = [c for c in found if not c.is_virtual_output] or found
        if len({c.name for c in choice}) == 1:
            return choice[0]
    if partly:
        raise SourceError(f"several cameras are called something like {name!r}{_known(partly)}")
    raise SourceError(f"there is no file {name!r}, and no camera of that name{_known(cameras)}")


def _known(cameras: list[CameraInfo]) -> str:
    if cameras:
        return "; choose one of: " + ", ".join(f"{c.index} ({c.name})" for c in cameras)
    return f"; no camera is plugged in: {_WITHOUT_CAMERA}" if can_list_cameras() else ""


def _from_node(node: v4l2.Node) -> CameraInfo:
    return CameraInfo(node.index, node.name, node.path, node.is_loopback, node.bus)


def _list_with_library() -> list[CameraInfo]:
    if not can_list_cameras():
        return []
    import cv2
    from cv2_enumerate_cameras import enumerate_cameras

    backend = cv2.CAP_DSHOW if sys.platform == "win32" else cv2.CAP_AVFOUNDATION
    return [
        CameraInfo(
            int(found.index),
            str(found.name),
            None,
            any(name in str(found.name).casefold() for name in _VIRTUAL_NAMES),
            str(found.path or ""),
        )
        for found in enumerate_cameras(backend)
    ]
