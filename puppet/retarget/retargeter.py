"""From the driver's face to the portrait's: pose, expression, lids, lips and gaze.

The driver's landmarks are split into head pose and a shape in the head's own frame. What the
shape deviates from the driver's neutral is scaled by region to the portrait's proportions and
added to the portrait's rest shape, in the portrait's own head frame and in three dimensions, so
that a portrait seen at an angle moves its mouth along its own cheeks. Then the head is posed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from puppet.contract import Landmarks, Teeth
from puppet.landmarks import mean_face
from puppet.retarget.neutral import DriverNeutral
from puppet.retarget.openings import (
    EYES,
    eye_openness,
    gaze,
    lids_at_glance,
    lip_gaps,
    mouth_width,
    set_eye,
    set_lip_gaps,
)
from puppet.retarget.pose import HeadPose, Shape, fit_pose, soft_limit, to_matrix, to_vector
from puppet.retarget.smoothing import OneEuroFilter, Smoothing
from puppet.retarget.teeth import ASSUMED_TEETH, LightestTeeth, shown_teeth

CLOSED_LIDS = 0.35
"""Lid opening, as a share of the neutral one, that MediaPipe reports for a closed eye."""
CLOSED_LIPS = (0.012, 0.045)
"""Lip gap in mouth widths below which lips count as touching, and above which as parted."""
WIDEST_EYES = 1.35
FULL_VIEW, PROFILE = 0.25, 0.7
"""Yaw of a portrait, in radians, up to which both sides show fully, and from which one is edge."""
HELD_BACK = 0.6
"""Share of an expression that the far edge of such a portrait does not follow."""


@dataclass(frozen=True, slots=True)
class RetargetSettings:
    """What a user may turn while live. Strengths are factors, 1 as the driver does."""

    expression: float = 1.0
    mouth: float = 1.0
    gaze: float = 1.0
    pose: float = 0.9
    position: float = 0.5
    absolute_pose: bool = False
    """True: the portrait looks where the driver looks; False: it moves from its own pose."""
    yaw_limit_deg: float = 28.0
    pitch_limit_deg: float = 20.0
    roll_limit_deg: float = 28.0
    position_limit: float = 0.45
    """In outer eye corner distances."""
    steadiness: float = 1.0
    """Divides every filter's resting cut-off; 0 switches smoothing off."""


# Group filters: the pose is slow and visible as wobble, lips are fast and carry speech, lids pass
# unfiltered because a blink is over in three frames. Units: radians or eye-corner distances.
POSE_SMOOTHING = Smoothing(1.2, 9.0)
LIPS_SMOOTHING = Smoothing(4.0, 12.0)
FACE_SMOOTHING = Smoothing(2.0, 8.0)
GAZE_SMOOTHING = Smoothing(3.0, 10.0)
TEETH_SMOOTHING = Smoothing(3.0, 12.0)


def rest_face(portrait: Landmarks) -> Landmarks:
    """The portrait's landmarks with its lips closed: what a neutral driver shows."""
    pose = fit_pose(portrait.points)
    shape = pose.to_head(portrait.points)
    set_lip_gaps(shape, np.zeros_like(lip_gaps(shape)))
    return replace(portrait, points=pose.to_picture(shape).astype(np.float32))


class Retargeter:
    """Follows one driver for one portrait; keeps the filters' state."""

    def __init__(
        self,
        rest: Landmarks,
        neutral: DriverNeutral | None = None,
        settings: RetargetSettings | None = None,
    ) -> None:
        """`rest`: the portrait's `rest_face`. Without a driver's neutral the mean face serves
        until `set_neutral`."""
        self._canvas = rest
        self._pose = fit_pose(rest.points)
        self._rest = self._pose.to_head(rest.points)
        self.settings = settings or RetargetSettings()
        self._settled = self.settings
        self._neutral: DriverNeutral | None = None
        self._filters = _filters(self.settings.steadiness)
        self._lightest = LightestTeeth()
        if neutral is not None:
            self.set_neutral(neutral)

    def set_neutral(self, neutral: DriverNeutral) -> None:
        """Takes a (new) neutral of the driver; the filters go on, so the face does not jump."""
        self._neutral = neutral
        scale = _region_scale(self._rest, neutral.shape)
        self._scale = scale * _visible_share(self._rest, self._pose)

    def reset(self) -> None:
        """Forgets past motion, for example after a cut or a lost face."""
        for each in self._filters.values():
            each.reset()

    @property
    def lag_ms(self) -> dict[str, float]:
        """What smoothing adds to the latency right now, by group."""
        return {name: each.lag_s * 1e3 for name, each in self._filters.items()}

    def idle(self, lids: float = 1.0) -> Landmarks:
        """The portrait at rest with its eyes opened by `lids` (0 closed, 1 as in the picture)."""
        shape = self._rest.copy()
        for eye in EYES:
            set_eye(shape, self._rest, eye, lids, np.zeros(2))
        return self._landmarks(shape, self._pose)

    def retarget(self, driver: Landmarks, at_ns: int) -> Landmarks:
        """Landmarks in the portrait's crop, from the driver's in their own picture."""
        settings = self.settings
        if settings.steadiness != self._settled.steadiness:
            self._filters = _filters(settings.steadiness)
        self._settled = settings
        points = driver.points.astype(np.float64) / driver.width
        if self._neutral is None:
            self.set_neutral(_stranger(points))
        neutral = self._neutral
        assert neutral is not None
        pose = fit_pose(points, neutral.shape)
        seen = pose.to_head(points)

        shape = self._expression(seen, neutral.shape, at_ns)
        self._openings(shape, seen, neutral.shape, at_ns)
        face = self._landmarks(shape, self._posed(pose, neutral.pose, at_ns))
        return replace(face, teeth=self._seen_teeth(driver.teeth, at_ns))

    def _seen_teeth(self, teeth: Teeth | None, at_ns: int) -> Teeth:
        if teeth is None:  # closed lips, or a tracker that does not see: the next word begins anew
            self._filters["teeth"].reset()
            return ASSUMED_TEETH
        upper, lower = self._filters["teeth"](np.array(teeth), at_ns)
        seen = float(upper), float(lower)
        return shown_teeth(seen, self._lightest.see(seen, at_ns))

    def _expression(self, seen: Shape, neutral: Shape, at_ns: int) -> Shape:
        change = (seen - neutral) * self._scale
        lips = self._filters["lips"](change[_MOUTH], at_ns) * self.settings.mouth
        change = self._filters["face"](change, at_ns).copy()
        change[_MOUTH] += _MOUTH_SHARE * (lips - change[_MOUTH])
        return self._rest + self.settings.expression * change

    def _openings(self, shape: Shape, seen: Shape, neutral: Shape, at_ns: int) -> None:
        settings = self.settings
        looks = np.stack([gaze(seen, eye) - gaze(neutral, eye) for eye in EYES])
        # Both eyes look at one thing: what the tracker says of each is averaged in part.
        looks[:, 1] = looks[:, 1].mean()
        sideways = (looks[0, 0] - looks[1, 0]) / 2  # along points to the nose on both sides
        looks[:, 0] = 0.7 * np.array((sideways, -sideways)) + 0.3 * looks[:, 0]
        limit = np.array((0.22, 0.14))
        glance = self._filters["gaze"](looks, at_ns)
        looks = soft_limit(glance * settings.gaze, limit)
        shares = np.array([eye_openness(seen, eye) / eye_openness(neutral, eye) for eye in EYES])
        lids = np.clip((shares - CLOSED_LIDS) / (1 - CLOSED_LIDS), 0, WIDEST_EYES)
        for eye, open_by, turn in zip(EYES, lids_at_glance(lids, glance), looks, strict=True):
            set_eye(shape, self._rest, eye, float(open_by), turn)

        gaps = lip_gaps(shape)
        seen_gap = float(np.max(lip_gaps(seen))) / mouth_width(seen)
        neutral_gap = float(np.max(lip_gaps(neutral))) / mouth_width(neutral)
        touching, parted = (max(edge, edge - CLOSED_LIPS[0] + neutral_gap) for edge in CLOSED_LIPS)
        part = np.clip((seen_gap - touching) / (parted - touching), 0, 1)
        set_lip_gaps(shape, np.maximum(gaps, 0) * part * part * (3 - 2 * part))

    def _posed(self, pose: HeadPose, neutral: HeadPose, at_ns: int) -> HeadPose:
        settings = self.settings
        rotation = pose.rotation if settings.absolute_pose else pose.rotation @ neutral.rotation.T
        shift = (pose.translation - neutral.translation) / neutral.scale
        size = np.log(pose.scale / neutral.scale)
        moved = np.concatenate((to_vector(rotation), shift, (size,)))
        moved = self._filters["pose"](moved, at_ns)
        limits = np.radians(
            (settings.pitch_limit_deg, settings.yaw_limit_deg, settings.roll_limit_deg)
        )
        turned = to_matrix(soft_limit(moved[:3] * settings.pose, limits))
        if not settings.absolute_pose:
            turned = turned @ self._pose.rotation
        reach = np.full(4, settings.position_limit)
        reach[3] = 0.25
        moved_by = soft_limit(moved[3:] * settings.position, reach)
        return HeadPose(
            turned,
            self._pose.translation + self._pose.scale * moved_by[:3],
            self._pose.scale * float(np.exp(moved_by[3])),
        )

    def _landmarks(self, shape: Shape, pose: HeadPose) -> Landmarks:
        return replace(self._canvas, points=pose.to_picture(shape).astype(np.float32))


def _filters(steadiness: float) -> dict[str, OneEuroFilter]:
    groups = {
        "pose": POSE_SMOOTHING,
        "lips": LIPS_SMOOTHING,
        "face": FACE_SMOOTHING,
        "gaze": GAZE_SMOOTHING,
        "teeth": TEETH_SMOOTHING,
    }
    if steadiness <= 0:
        return {name: OneEuroFilter(replace(s, min_cutoff_hz=0)) for name, s in groups.items()}
    return {
        name: OneEuroFilter(replace(s, min_cutoff_hz=s.min_cutoff_hz / steadiness))
        for name, s in groups.items()
    }


def _stranger(points: Shape) -> DriverNeutral:
    """A stand-in before calibration: the mean face, where the driver is now."""
    return DriverNeutral(mean_face().astype(np.float64), fit_pose(points), 0.0)


def _region_scale(portrait: Shape, driver: Shape) -> NDArray[np.float64]:
    """(478, 3) factors from the driver's proportions to the portrait's: widths scale sideways
    motion, heights scale up and down, each region by its own measure, blended smoothly."""

    def ratio(measure: float, other: float) -> float:
        return float(np.clip(measure / max(other, 1e-6), 0.6, 1.6))

    def span(shape: Shape, a: int, b: int) -> float:
        return float(np.linalg.norm(shape[a] - shape[b]))

    mouth = ratio(mouth_width(portrait), mouth_width(driver))
    jaw = ratio(span(portrait, 2, 152), span(driver, 2, 152))
    brow = ratio(
        span(portrait, 105, 159) + span(portrait, 334, 386),
        span(driver, 105, 159) + span(driver, 334, 386),
    )
    y = mean_face()[:, 1].astype(np.float64)
    low = 1 / (1 + np.exp(-(y - 0.45) * 12))  # below the nose
    high = 1 / (1 + np.exp((y + 0.12) * 20))  # brows and forehead
    sideways = 1 + low * (mouth - 1)
    upright = 1 + low * (jaw - 1) + high * (brow - 1)
    return np.column_stack((sideways, upright, (sideways + upright) / 2))


def _visible_share(rest: Shape, pose: HeadPose) -> NDArray[np.float64]:
    """(478, 1) factors that hold back what lies near the far edge of a portrait seen at an angle.

    There the picture shows a cheek's width in a few pixels. An expression of full height would
    pull a lip's far corner into a hook, and what shows beside it cannot be stretched so far.
    """
    yaw = float(to_vector(pose.rotation)[1])
    turned = np.clip((abs(yaw) - FULL_VIEW) / (PROFILE - FULL_VIEW), 0, 1)
    depth = pose.rotation[2] @ rest.T  # away from the viewer
    across = rest[:, 0] * np.sign(depth[291] - depth[61])
    far = np.clip(across / mouth_width(rest) * 2, 0, 1)
    share: NDArray[np.float64] = 1 - HELD_BACK * turned * far[:, None]
    return share


def _mouth_region() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Points about the mouth and how far each belongs to it (1 on the lips, less outwards)."""
    face = mean_face().astype(np.float64)
    centre = (face[13] + face[14]) / 2
    distance = np.linalg.norm((face - centre)[:, :2] / (0.62, 0.5), axis=1)
    share = np.clip(1.5 - distance, 0, 1)
    share[468:] = 0
    members = np.flatnonzero(share > 0)
    return members, share[members, None]


_MOUTH, _MOUTH_SHARE = _mouth_region()
