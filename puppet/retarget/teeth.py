"""The driver's teeth in the portrait's measure: the lightest that a driver shows are light.

How light teeth are against the cheeks differs more between skins than between teeth. A portrait
has its own, so what crosses is a share of what this driver's teeth can be.
"""

from __future__ import annotations

import math

from puppet.contract import Teeth

USUAL_TEETH, LIGHTEST_TEETH = 0.45, 0.65
"""How light teeth are, see `puppet.contract.Landmarks`, of a driver who has not shown any yet, and
of anybody."""
SHOWN_TEETH = 0.47
"""How light the lightest teeth of every driver are shown. A little less than in training (0.5): who
was never trained on has teeth that the network does not know, and too light is further off than
too dark (measured on validation people, figures in MODEL_CARD.md)."""
ASSUMED_TEETH = (0.45, 0.38)
"""Between lips of which nothing is known: teeth."""
TEETH_KEPT_S = 60.0


def shown_teeth(seen: Teeth | None, lightest: float, shown: float = SHOWN_TEETH) -> Teeth:
    """What a portrait shows where a driver whose lightest teeth are so light shows `seen`; those
    lightest become `shown`."""
    if seen is None:
        return ASSUMED_TEETH
    upper, lower = (min(light / lightest, 1.0) * shown for light in seen)
    return upper, lower


class LightestTeeth:
    """The lightest teeth of one driver of late; a glint is forgotten within minutes."""

    def __init__(self) -> None:
        self.value = USUAL_TEETH
        self._at_ns: int | None = None

    def see(self, seen: Teeth, at_ns: int) -> float:
        """The lightest from here on."""
        passed_s = 0.0 if self._at_ns is None else max(0.0, (at_ns - self._at_ns) * 1e-9)
        self._at_ns = at_ns
        faded = (self.value - USUAL_TEETH) * math.exp(-passed_s / TEETH_KEPT_S)
        self.value = max(USUAL_TEETH + faded, min(max(seen), LIGHTEST_TEETH))
        return self.value
