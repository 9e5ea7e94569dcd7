"""The checks behind `puppet doctor`: each finds out one thing and names the remedy."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

from engines.contract import EngineError
from puppet.cli.finding import FAIL, NOTE, OK, WARN, Check, is_installed
from puppet.cli.virtual_checks import proof, virtual_camera
from puppet.contract import PuppetError
from puppet.system import data_dir, explain_import_error

_PLATFORMS = {"directml": "win32", "coreml": "darwin"}
"""Devices that one system has and no other."""


def run_checks() -> list[Check]:
    """All of them, in order. A check that breaks down is a finding of its own."""
    found: list[Check] = []
    for name, check in _CHECKS:
        try:
            found.extend(check())
        except ImportError as error:
            found.append(Check(name, FAIL, str(error), explain_import_error(error)))
        except (PuppetError, EngineError, OSError, RuntimeError) as error:
            found.append(Check(name, FAIL, str(error), "see the message"))
    return found


def _python() -> Iterator[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Check("Python", OK, version)


def _opencv() -> Iterator[Check]:
    names = [
        name
        for name in (
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        )
        if is_installed(name)
    ]
    import cv2

    yield Check("OpenCV", OK, f"{cv2.__version__}, its system libraries load")
    if len(names) > 1:
        yield Check(
            "OpenCV packages",
            WARN,
            f"{', '.join(names)} overwrite each other's files",
            f"pip uninstall -y {' '.join(names)} && "
            "pip install --force-reinstall opencv-contrib-python",
        )


def _tracker() -> Iterator[Check]:
    from puppet.track import has_bundled_models

    version = metadata.version("mediapipe")
    if has_bundled_models():
        yield Check("face tracker", OK, f"MediaPipe {version} with its models")
        return
    from puppet.contract import TrackerError
    from puppet.track.tasks import model_path, read_model

    try:
        read_model()
    except TrackerError as error:
        yield Check("face tracker", FAIL, f"MediaPipe {version} without a model", str(error))
    else:
        yield Check("face tracker", OK, f"MediaPipe {version} with {model_path()}")


def _runtimes() -> Iterator[Check]:
    from engines.runtimes import candidates

    found = [c for c in candidates() if _PLATFORMS.get(c.device, sys.platform) == sys.platform]
    missing: dict[str, list[str]] = {}
    for candidate in found:
        name = f"{candidate.runtime} on {candidate.device}"
        if candidate.available:
            yield Check(f"runtime {name}", OK, "available")
        else:
            missing.setdefault(candidate.reason, []).append(name)
    for reason, names in missing.items():
        yield Check("runtimes not here", NOTE, ", ".join(names), reason)
    if not any(candidate.available for candidate in found):
        yield Check("runtimes", FAIL, "none can run", "pip install openvino")


def _generators() -> Iterator[Check]:
    from engines.models import shipped_tiers

    yield Check("generator weights", OK, f"tiers {', '.join(shipped_tiers())}")


def _video() -> Iterator[Check]:
    import av

    wanted = {"libx264": "H.264 video", "aac": "AAC sound"}
    missing = [what for codec, what in wanted.items() if codec not in av.codecs_available]
    versions = av.library_versions
    codec = ".".join(str(part) for part in versions["libavcodec"])
    if missing:
        yield Check(
            "video files",
            WARN,
            f"PyAV {av.__version__} (libavcodec {codec}) cannot write {' and '.join(missing)}",
            "pip install --force-reinstall --only-binary av av",
        )
    else:
        yield Check(
            "video files", OK, f"PyAV {av.__version__} with FFmpeg's libavcodec {codec}, H.264, AAC"
        )


def _cameras() -> Iterator[Check]:
    from puppet.capture.devices import can_list_cameras, list_cameras

    cameras = [camera for camera in list_cameras() if not camera.is_virtual_output]
    if cameras:
        yield Check("cameras", OK, ", ".join(str(camera) for camera in cameras))
    elif not can_list_cameras():
        yield Check("cameras", WARN, "cannot be listed here", "pip install cv2-enumerate-cameras")
    else:
        yield Check(
            "cameras",
            WARN,
            "none found",
            "plug one in; until then use '--camera demo' or a video file",
        )


def _preview() -> Iterator[Check]:
    name = "preview window"
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        yield Check(name, WARN, "no display here", "use '--sink mjpeg' and open it in a browser")
        return
    import cv2

    build = cv2.getBuildInformation()
    gui = next((line for line in build.splitlines() if line.strip().startswith("GUI:")), "")
    if "NONE" in gui.upper():
        yield Check(
            name,
            WARN,
            "this OpenCV has no windows",
            "pip uninstall -y opencv-contrib-python-headless opencv-python-headless && "
            "pip install --force-reinstall opencv-contrib-python",
        )
    else:
        yield Check(name, OK, "OpenCV can open windows")


def _folder() -> Iterator[Check]:
    folder = data_dir()
    existing = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if os.access(existing, os.W_OK):
        free = shutil.disk_usage(existing).free / 2**30
        yield Check("data folder", OK, f"{folder}, {free:.0f} GiB free")
    else:
        yield Check(
            "data folder",
            FAIL,
            f"{folder} cannot be written",
            "set PUPPET_HOME to a folder that you may write to",
        )


_CHECKS: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
    ("Python", _python),
    ("OpenCV", _opencv),
    ("face tracker", _tracker),
    ("generator weights", _generators),
    ("runtimes", _runtimes),
    ("video files", _video),
    ("cameras", _cameras),
    ("virtual camera", virtual_camera),
    ("preview window", _preview),
    ("data folder", _folder),
    ("virtual camera, written and read back", proof),
)
