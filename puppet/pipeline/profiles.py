"""The driver's neutral face, kept per user and camera."""

from __future__ import annotations

import getpass
import logging
from dataclasses import dataclass
from pathlib import Path

from puppet.capture import MeasuredSource
from puppet.capture.live import LiveSource
from puppet.contract import UserError
from puppet.retarget import GOOD_FIT, DriverNeutral, load_profile, save_profile
from puppet.system import data_dir

log = logging.getLogger(__name__)


def profiles_dir() -> Path:
    return data_dir() / "profiles"


def user_name() -> str:
    """Who is logged in; in containers nobody may be."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "default"


@dataclass(frozen=True, slots=True)
class Profile:
    """The kept neutral face of who sits at a source; a recording of anybody has none."""

    source: MeasuredSource
    enabled: bool

    def known(self) -> DriverNeutral | None:
        """What an earlier run kept, or None."""
        return known_neutral(self.source.name) if self._is_camera else None

    def keep(self, neutral: DriverNeutral) -> None:
        """For the next run at this camera; one that fits badly does not displace a better one."""
        if not self._is_camera:
            return
        known = None if neutral.score >= GOOD_FIT else self.known()
        if known is None or neutral.score >= known.score:
            keep_neutral(self.source.name, neutral)

    @property
    def _is_camera(self) -> bool:
        now = getattr(self.source, "current", self.source)  # one that can be changed for another
        return self.enabled and isinstance(now, LiveSource)


def known_neutral(camera: str) -> DriverNeutral | None:
    """The kept neutral face for this user at this camera. A broken file is as good as none."""
    try:
        return load_profile(profiles_dir(), user_name(), camera)
    except UserError as error:
        log.warning("%s", error)
        return None


def keep_neutral(camera: str, neutral: DriverNeutral) -> None:
    """Saves it for the next run; a folder that cannot be written is no reason to stop."""
    try:
        save_profile(profiles_dir(), user_name(), camera, neutral)
    except OSError as error:
        log.warning("The calibration cannot be kept in %s: %s", profiles_dir(), error)
