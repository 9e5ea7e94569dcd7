"""In OBS itself: the delay of a sound is set there, and the page's stream is played there."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from obsws_python.error import OBSSDKRequestError

from puppet.contract import Rgb, UserError
from puppet.output.obs import set_sound_delay
from puppet.pipeline.demo import demo_avatar
from tests import obs_program
from tests.obs_program import PASSWORD, RunningObs
from tests.performing import shows_label

WHY_NOT = obs_program.missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"OBS: {WHY_NOT}")


@pytest.fixture(scope="module")
def obs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningObs]:
    with obs_program.running(tmp_path_factory.mktemp("obs")) as program:
        yield program


def test_the_delay_is_set_in_obs(obs: RunningObs) -> None:
    obs.add_media("Voice", "http://127.0.0.1:9/")
    set_sound_delay("Voice", 137, password=PASSWORD, port=obs.port)
    assert obs.client.get_input_audio_sync_offset("Voice").input_audio_sync_offset == 137
    with pytest.raises(UserError, match=r"no input 'Mic'; it has: .*Voice"):
        set_sound_delay("Mic", 137, password=PASSWORD, port=obs.port)
    with pytest.raises(UserError, match="refuses the password"):
        set_sound_delay("Voice", 0, password="another", port=obs.port)
    with pytest.raises(UserError, match="asks for a password"):
        set_sound_delay("Voice", 0, password=None, port=obs.port)
    assert obs.client.get_input_audio_sync_offset("Voice").input_audio_sync_offset == 137


def test_obs_plays_the_stream_of_a_run(obs: RunningObs, tmp_path: Path) -> None:
    run = subprocess.Popen(
        [
            sys.executable, "-m", "puppet.cli.main", "run", "--avatar", str(demo_avatar()),
            "--camera", "demo", "--sink", "mjpeg:0", "--size", "1280x720",
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert run.stdout is not None
        said = iter(run.stdout)
        address = next(line.split()[-1] for line in said if "http://" in line)
        obs.add_media("Portrait", f"{address}stream.mjpg")
        first = until_labelled(obs)
        time.sleep(1.0)
        later = picture_of(obs)
        assert shows_label(later)
        face = np.s_[200:600, 400:880]
        assert np.abs(first[face].astype(int) - later[face]).mean() > 0.5  # it moves
    finally:
        run.terminate()
        run.communicate(timeout=20)
        with contextlib.suppress(OBSSDKRequestError):  # was never added
            obs.client.remove_input("Portrait")
    assert run.returncode == 0


def until_labelled(obs: RunningObs, seconds: float = 40.0) -> Rgb:
    """The first picture on air that carries the label: OBS takes seconds to open a stream."""
    deadline = time.monotonic() + seconds
    while not shows_label(picture := picture_of(obs)):
        assert time.monotonic() < deadline, "the portrait never came on air"
        time.sleep(0.5)
    return picture


def picture_of(obs: RunningObs) -> Rgb:
    """What OBS has on air, (720, 1280, 3) uint8."""
    picture = cv2.imdecode(np.frombuffer(obs.on_air(1280, 720), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
