"""What `puppet doctor` finds out about the virtual camera: whether it is there, and works."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

from puppet.cli.finding import NOTE, OK, WARN, Check, is_installed


def virtual_camera() -> Iterator[Check]:
    name = "virtual camera"
    if not is_installed("pyvirtualcam"):
        yield Check(
            name, WARN, "pyvirtualcam is not installed", 'pip install "webcam-puppet[virtual]"'
        )
        return
    if sys.platform.startswith("linux"):
        yield from _loopback(name)
    elif sys.platform in ("win32", "darwin"):
        yield from _program(name)
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


def proof() -> Iterator[Check]:
    """Pictures are written into the virtual camera and read back."""
    name = "virtual camera, written and read back"
    if not is_installed("pyvirtualcam"):
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
    shown = prove(VirtualCameraSink())
    if shown.problem is not None:
        yield Check(name, WARN, f"{shown.device}: {shown.problem}", shown.remedy)
        return
    delay = sorted(shown.delays_ms)[len(shown.delays_ms) // 2]
    width, height = shown.size or (0, 0)
    found = f"PASS: {shown.device}, {WANTED} pictures of {width}x{height}, {delay:.0f} ms each"
    yield Check(name, OK, found)


def _program(name: str) -> Iterator[Check]:
    """OBS, or Unity Capture, which the list of cameras shows once they are set up."""
    from puppet.capture.devices import list_cameras

    listed = [camera.name for camera in list_cameras() if camera.is_virtual_output]
    if listed:
        yield Check(name, OK, ", ".join(listed))
        return
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


def _package_command(debian: str, fedora: str) -> str:
    if shutil.which("dnf"):
        return f"sudo dnf install {fedora}"
    if shutil.which("pacman"):
        return f"sudo pacman -S {debian}"
    return f"sudo apt-get install {debian}"
