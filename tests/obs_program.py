"""OBS itself, on a virtual display and in a home of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from obsws_python import ReqClient

PASSWORD = "only for a test"
SCENE = "Scene"
_GLOBAL = """[General]
FirstRun=true
EnableAutoUpdates=false

[OBSWebSocket]
FirstLoad=false
ServerEnabled=true
ServerPort={port}
AlertsEnabled=false
AuthRequired=true
ServerPassword={password}
"""
_START_S = 90.0


def missing() -> str | None:
    """Why OBS cannot be run here; None when it can."""
    absent = [name for name in ("obs", "Xvfb") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


class RunningObs:
    """A started OBS and an official way to talk to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = ReqClient(host="127.0.0.1", port=port, password=PASSWORD, timeout=10)
        self.version = str(self.client.get_version().obs_version)

    def add_media(self, name: str, address: str) -> None:
        """A media source that plays `address`, in the scene on air."""
        settings = {"is_local_file": False, "input": address, "buffering_mb": 0}
        self.client.create_input(SCENE, name, "ffmpeg_source", settings, True)

    def on_air(self, width: int, height: int) -> bytes:
        """What the scene shows, as PNG."""
        import base64

        shot = self.client.get_source_screenshot(SCENE, "png", width, height, -1).image_data
        return base64.b64decode(str(shot).split(",", 1)[1])


@contextlib.contextmanager
def running(home: Path) -> Iterator[RunningObs]:
    """OBS with an empty scene, ended with everything it started. AssertionError when it does not
    come up."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = int(asked.getsockname()[1])
    settings = home / ".config" / "obs-studio" / "global.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(_GLOBAL.format(port=port, password=PASSWORD))
    with contextlib.ExitStack() as ending:
        display = _display(ending)
        # Without Qt's variables: OpenCV sets them to its own plugins, which OBS cannot load.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QT_")} | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_RUNTIME_DIR": str(home),
            "DISPLAY": display,
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        log = ending.enter_context((home / "obs.log").open("wb"))
        program = subprocess.Popen(
            ["obs", "--multi", "--disable-updater"],
            env=environment,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        ending.callback(_end, program)
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            said = (home / "obs.log").read_text(errors="replace")
            assert program.poll() is None, f"OBS has ended: {said[-2000:]}"
            assert time.monotonic() < deadline, f"OBS does not answer: {said[-2000:]}"
            time.sleep(0.2)
        obs = RunningObs(port)
        ending.callback(obs.client.disconnect)
        yield obs


def _display(ending: contextlib.ExitStack) -> str:
    """A virtual display of its own; its name. OBS takes its size for the canvas."""
    reads, writes = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writes), "-screen", "0", "1280x720x24"],
        pass_fds=[writes], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    ending.callback(_end, server)
    os.close(writes)
    with os.fdopen(reads) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb does not start"
    return f":{number}"


def _end(program: subprocess.Popen[bytes]) -> None:
    program.terminate()
    try:
        program.wait(5.0)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
