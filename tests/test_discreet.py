"""The runtimes must not report to their makers that they ran; they note at home what they sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_USE = """
import socket, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print(event, arguments)

sys.addaudithook(watch)
from engines.runtimes import choose_generator
from engines.cache import EngineCache
from pathlib import Path
cache = EngineCache(Path(sys.argv[2]))
choose_generator("coarse", runtime=sys.argv[1], cache=cache).generator.close()
"""


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_reports_nothing(runtime: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # Without what silences them in a test run or a build farm: a user's machine has neither.
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "GITHUB_ACTIONS", "TF_BUILD")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", _USE, runtime, str(tmp_path / "engines")],
        env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    assert not [path for path in home.rglob("*") if path.is_file()]
