"""What tests of several files begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.performing import driver_frames, make_avatar, write_clip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own: no test sees what another made, or the developer."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PUPPET_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a real avatar."""
    return make_avatar(tmp_path_factory.mktemp("avatar"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of an unmistakable driver, with a tone."""
    path = tmp_path_factory.mktemp("clip") / "driver.mp4"
    return write_clip(path, driver_frames(30), tone=True)
