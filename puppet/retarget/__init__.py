"""The driver is not the portrait: motion is carried over, proportions are not."""

from puppet.retarget.neutral import (
    GOOD_FIT,
    DriverNeutral,
    NeutralCollector,
    average_neutral,
    best_neutral,
    load_profile,
    save_profile,
)
from puppet.retarget.retargeter import Retargeter, RetargetSettings, rest_face
from puppet.retarget.teeth import LightestTeeth, shown_teeth

__all__ = [
    "GOOD_FIT",
    "DriverNeutral",
    "LightestTeeth",
    "NeutralCollector",
    "RetargetSettings",
    "Retargeter",
    "average_neutral",
    "best_neutral",
    "load_profile",
    "rest_face",
    "save_profile",
    "shown_teeth",
]
