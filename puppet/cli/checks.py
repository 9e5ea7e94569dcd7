"""The checks behind `puppet doctor`: each finds out one thing and names the remedy."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal, TypeAlias

from engines.contract import EngineError
from puppet.contract import PuppetError
from puppet.system import data_dir, explain_import_error

Status: TypeAlias = Literal["ok", "note", "warn", "fail"]
OK: Status = "ok"
NOTE: Status = "note"
WARN: Status = "warn"
FAIL: Status = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    `fail`: nothing works without it; `warn`: something does not work; `note`: one way of several.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


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
        if _is_installed(name)
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

    found = candidates()
    for candidate in found:
        name = f"runtime {candidate.runtime} on {candidate.device}"
        if candidate.available:
            yield Check(name, OK, "available")
        else:
            yield Check(name, NOTE, "not here", candidate.reason)
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


def _virtual_camera() -> Iterator[Check]:
    name = "virtual camera"
    if not _is_installed("pyvirtualcam"):
        yield Check(
            name, WARN, "pyvirtualcam is not installed", 'pip install "webcam-puppet[virtual]"'
        )
        return
    if sys.platform.startswith("linux"):
        yield from _loopback(name)
    elif sys.platform in ("win32", "darwin"):
        yield from _obs(name)
    else:
        yield Check(name, WARN, f"no driver is known for {sys.platform}", "use another output")


def _loopback(name: str) -> Iterator[Check]:
    from puppet.capture.v4l2 import list_nodes

    devices = [node for node in list_nodes() if node.is_loopback]
    writable = [node for node in devices if os.access(node.path, os.R_OK | os.W_OK)]
    load = (
        "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 "
        'card_label="webcam-puppet" max_buffers=2'
    )
    always = [node for node in writable if node.captures and node.outputs]
    if always and len(always) == len(writable):
        yield Check(
            name,
            WARN,
            f"{always[0].path} says that it is camera and output at once: browsers do not list it",
            f"sudo modprobe -r v4l2loopback && {load}",
        )
    elif writable:
        yield Check(name, OK, ", ".join(f"{node.path} ({node.name})" for node in writable))
    elif devices:
        yield Check(
            name,
            WARN,
            f"{devices[0].path} may not be written by this user",
            "sudo usermod -aG video $USER, then log in again",
        )
    elif os.path.isdir("/sys/module/v4l2loopback"):
        yield Check(
            name,
            WARN,
            "v4l2loopback is loaded but has no device",
            f"sudo modprobe -r v4l2loopback && {load}",
        )
    else:
        install = _package_command("v4l2loopback-dkms", "v4l2loopback")
        yield Check(name, WARN, "v4l2loopback is not loaded", f"{install} && {load}")


def _proof() -> Iterator[Check]:
    """Pictures are written into the virtual camera and read back."""
    name = "virtual camera, written and read back"
    if not _is_installed("pyvirtualcam"):
        yield Check(name, NOTE, "not tried, there is none", "see above")
        return
    from puppet.capture.devices import can_list_cameras
    from puppet.capture.v4l2 import list_nodes
    from puppet.cli.proof import WANTED, prove
    from puppet.output.virtual import VirtualCameraSink

    if sys.platform.startswith("linux") and not any(node.is_loopback for node in list_nodes()):
        yield Check(name, NOTE, "not tried, there is none", "see above")
        return
    if not can_list_cameras():
        yield Check(name, WARN, "cannot be found again", "pip install cv2-enumerate-cameras")
        return
    proof = prove(VirtualCameraSink())
    if proof.problem is not None:
        yield Check(name, WARN, f"{proof.device}: {proof.problem}", proof.remedy)
        return
    delay = sorted(proof.delays_ms)[len(proof.delays_ms) // 2]
    width, height = proof.size or (0, 0)
    found = f"PASS: {proof.device}, {WANTED} pictures of {width}x{height}, {delay:.0f} ms each"
    yield Check(name, OK, found)


def _obs(name: str) -> Iterator[Check]:
    folders = {
        "win32": (r"C:\Program Files\obs-studio", r"C:\Program Files (x86)\obs-studio"),
        "darwin": ("/Applications/OBS.app",),
    }[sys.platform]
    if any(os.path.exists(folder) for folder in folders):
        yield Check(name, OK, "OBS is installed (its virtual camera must have been started once)")
    else:
        yield Check(
            name,
            WARN,
            "OBS is not installed",
            "install OBS Studio, press 'Start Virtual Camera' in it once, then close it",
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


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _package_command(debian: str, fedora: str) -> str:
    if shutil.which("dnf"):
        return f"sudo dnf install {fedora}"
    if shutil.which("pacman"):
        return f"sudo pacman -S {debian}"
    return f"sudo apt-get install {debian}"


_CHECKS: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
    ("Python", _python),
    ("OpenCV", _opencv),
    ("face tracker", _tracker),
    ("generator weights", _generators),
    ("runtimes", _runtimes),
    ("video files", _video),
    ("cameras", _cameras),
    ("virtual camera", _virtual_camera),
    ("preview window", _preview),
    ("data folder", _folder),
    ("virtual camera, written and read back", _proof),
)
