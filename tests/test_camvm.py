"""The program with real V4L2 cameras, in a machine that has some (tests/camvm/vm_run.sh)."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.camvm.driver_clip import make_driver_clip
from tests.chromium import find_chromium
from tests.performing import make_avatar

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
_PROGRAMS = {"ffmpeg": "ffmpeg", "v4l2-ctl": "v4l-utils", "perl": "perl", "taskset": "util-linux"}

pytestmark = [pytest.mark.camvm, pytest.mark.slow]


def _kernel() -> Path | None:
    """The prebuilt machine: beside the project, or where CAMVM_KERNEL says. It is not part of
    the project (7 MB, GPL-2.0); tests/camvm/build_kernel.sh builds it in minutes."""
    named = os.environ.get("CAMVM_KERNEL")
    places = [SHARED / "camvm" / "linux", *([Path(named)] if named else [])]
    return next((place for place in places if os.access(place, os.X_OK)), None)


def _why_not() -> str | None:
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "the camera machine is User Mode Linux for x86-64"
    if _kernel() is None:
        return "no kernel of the camera machine: CAMVM_KERNEL=$(tests/camvm/build_kernel.sh)"
    missing = [package for name, package in _PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        return f"apt-get install {' '.join(missing)}"
    return None


@pytest.fixture(scope="module", autouse=True)
def machine() -> Path:
    why = _why_not()
    if why is not None:
        pytest.skip(why)
    kernel = _kernel()
    assert kernel is not None
    return kernel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("camvm")


def in_machine(machine: Path, folder: Path, limit_s: int, *command: str) -> tuple[int, str]:
    """Exit code and stdout of a Python command in there; its stderr goes to ours."""
    run = [str(ROOT / "tests/camvm/vm_run.sh"), "-t", str(limit_s), "-w", str(folder)]
    environment = {**os.environ, "CAMVM_KERNEL": str(machine), "PUPPET_HOME": str(folder / "home")}
    done = subprocess.run(
        [*run, sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        timeout=limit_s + 30,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def results_of(code: int, printed: str) -> dict[str, dict[str, Any]]:
    """The checks' results; shown in the test's output, whether they are good or not."""
    print(printed)
    assert printed.strip(), f"the checks ended with {code} and said nothing"
    found: dict[str, dict[str, Any]] = json.loads(printed[printed.index("{\n") :])
    bad = {name: result for name, result in found.items() if not result["ok"]}
    assert not bad
    assert code == 0
    return found


def _driver_clip() -> Path:
    places = [ROOT / "puppet/data/demo_driver.mp4", *sorted((SHARED / "corpus/val").glob("*.mp4"))]
    clip = next((place for place in places if place.is_file()), None)
    if clip is None:
        pytest.skip("no clip of a face to drive with")
    return clip


@pytest.mark.timeout(200)
def test_webcam_to_video_call(machine: Path, folder: Path) -> None:
    """A webcam drives the program, and a video call sees the portrait; the webcam may come off."""
    if find_chromium() is None:
        pytest.skip("apt-get install chromium")
    pytest.importorskip("pyvirtualcam", reason='pip install "webcam-puppet[virtual]"')
    clip = make_driver_clip(_driver_clip(), folder / "driver.avi")
    avatar = make_avatar(folder)
    found = results_of(
        *in_machine(machine, folder, 170, "-m", "tests.camvm.call_check", str(avatar), str(clip))
    )
    for name in ("run_video11", "latency", "opencv", "chromium", "unplugged"):
        assert name in found, f"{name} was not reached"


@pytest.mark.timeout(120)
def test_webcam_source(machine: Path, folder: Path) -> None:
    """Formats, stalls, glitches and unplugging, as the source of pictures sees them."""
    results_of(*in_machine(machine, folder, 90, "-m", "tests.camvm.webcam_check"))


@pytest.mark.timeout(90)
def test_doctor_writes_and_reads_back(machine: Path, folder: Path) -> None:
    pytest.importorskip("pyvirtualcam", reason='pip install "webcam-puppet[virtual]"')
    code, printed = in_machine(machine, folder, 60, "-m", "puppet.cli.main", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(printed)["checks"]}
    proof = checks["virtual camera, written and read back"]
    print(proof)
    assert proof["status"] == "ok", proof
    assert "/dev/video10" in proof["found"]
    assert code in (0, 1)  # other findings are not this test's business
