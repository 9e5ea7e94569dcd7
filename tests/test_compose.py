"""The finished picture: where the square lands, what is blended, the label on everything."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puppet.compose import (
    WORDINGS,
    Background,
    ComposeSettings,
    Compositor,
    LabelSettings,
    cross_fade,
    frame_portrait,
    parse_background,
)
from puppet.compose.glyphs import can_draw, text_mask
from puppet.compose.label import make_label
from puppet.compose.ring import PictureRing
from puppet.compose.slate import _TEXTS
from puppet.compose.steady import TREMOR, SteadyMatte
from puppet.contract import PictureError, UserError
from puppet.output import FanOut
from puppet.output.file import FileSink
from puppet.output.mjpeg import MjpegSink
from puppet.output.preview import PreviewSink

UNLABELLED = LabelSettings(elsewhere="the test")


@dataclass
class Box:
    x: float
    y: float
    side: float


def smooth_picture(width: int, height: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 216, (6, 6, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass
class Avatar:
    name: str = "test"
    crop: Box = field(default_factory=lambda: Box(300.0, 100.0, 512.0))
    picture: np.ndarray = field(default_factory=lambda: smooth_picture(1200, 900, 1))
    background: np.ndarray = field(default_factory=lambda: smooth_picture(1200, 900, 2))
    picture_matte: np.ndarray | None = None


def person(alpha: int | None = None, colour: tuple[int, int, int] = (210, 60, 90)) -> np.ndarray:
    """An oval person, or the same alpha everywhere."""
    rgba = np.empty((512, 512, 4), np.uint8)
    rgba[..., :3] = colour
    y, x = np.mgrid[:512, :512]
    inside = np.hypot((x - 255.5) / 130, (y - 255.5) / 180)
    oval = np.clip((1 - inside) * 40 + 0.5, 0, 1) * 255
    rgba[..., 3] = oval if alpha is None else alpha
    return rgba


# --- the matte over time ------------------------------------------------------------------------


def test_a_trembling_matte_comes_to_rest() -> None:
    rng = np.random.default_rng(3)
    still = person()[..., 3].astype(np.int16)
    steady = SteadyMatte()
    noisy = [np.clip(still + rng.integers(-3, 4, still.shape), 0, 255) for _ in range(20)]
    followed = [steady.follow(m.astype(np.uint8)).astype(np.int16) for m in noisy]

    def change(mattes: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(mattes)]))

    assert change(followed[5:]) < change(noisy[5:]) / 8


@given(before=st.integers(0, 255), after=st.integers(0, 255))
def test_a_matte_that_changes_is_followed(before: int, after: int) -> None:
    steady = SteadyMatte()
    steady.follow(np.full((2, 2), before, np.uint8))
    got = steady.follow(np.full((2, 2), after, np.uint8))
    assert min(before, after) <= got[0, 0] <= max(before, after)
    assert abs(int(got[0, 0]) - after) < TREMOR
    if abs(after - before) >= TREMOR:
        assert (got == after).all()


def test_steadying_leaves_the_engines_picture_alone() -> None:
    steady = SteadyMatte()
    first, second = person(alpha=100), person(alpha=104)
    steady.steady(first)
    got = steady.steady(second)
    assert (second[..., 3] == 104).all()
    assert (got[..., :3] == second[..., :3]).all()
    assert (got[..., 3] == 101).all()
    small = np.zeros((64, 64, 4), np.uint8)
    assert (steady.steady(small) == 0).all()  # another size starts anew


# --- blending -----------------------------------------------------------------------------------


def test_a_square_is_the_crop_blended_over_the_background() -> None:
    avatar = Avatar()
    rgba = person()
    got = Compositor(avatar, ComposeSettings(label=UNLABELLED)).compose(rgba, 5, 7)
    behind = avatar.background[100:612, 300:812]
    alpha = rgba[..., 3:].astype(float) / 255
    expected = rgba[..., :3] * alpha + behind * (1 - alpha)
    assert np.abs(got.rgb - expected).max() <= 2
    assert (got.captured_at_ns, got.index, got.cutout) == (5, 7, None)
    assert got.rgb.flags.c_contiguous
    assert got.rgb.dtype == np.uint8


@pytest.mark.parametrize("alpha", [0, 255])
def test_the_ends_of_alpha_are_exact(alpha: int) -> None:
    avatar = Avatar()
    got = Compositor(avatar, ComposeSettings(label=UNLABELLED)).compose(person(alpha), 0, 0)
    wanted = np.broadcast_to(np.uint8((210, 60, 90)), (512, 512, 3))
    assert np.array_equal(got.rgb, wanted if alpha else avatar.background[100:612, 300:812])


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (640, 360), (1920, 1080), (1024, 1024)])
def test_the_square_lands_where_it_was_cut(size: tuple[int, int]) -> None:
    """The portrait's own pixels put back leave the picture as it was (person at rest)."""
    avatar = Avatar()
    avatar.background = avatar.picture
    x, y, side = (int(v) for v in (avatar.crop.x, avatar.crop.y, avatar.crop.side))
    rgba = np.dstack([avatar.picture[y : y + side, x : x + side], np.full((512, 512), 255)])
    rgba = np.ascontiguousarray(rgba, np.uint8)
    compositor = Compositor(avatar, ComposeSettings(size=size, label=UNLABELLED))
    with_person = compositor.compose(rgba, 0, 0).rgb.astype(int)
    without = compositor.compose(person(0), 0, 1).rgb.astype(int)
    assert with_person.shape == (size[1], size[0], 3)
    assert np.abs(with_person - without).max() <= 6
    assert np.abs(with_person - without).mean() < 0.6


def test_other_generator_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(S, S, 4\)"):
        Compositor(Avatar()).compose(np.zeros((512, 512, 3), np.uint8), 0, 0)


@pytest.mark.parametrize("size", [(512, 512), (1280, 720)])
def test_nothing_of_one_frame_is_left_in_the_next(size: tuple[int, int]) -> None:
    compositor = Compositor(Avatar(), ComposeSettings(size=size, cutout=True))
    first = compositor.compose(person(0), 0, 0)
    reference, cutout = first.rgb.copy(), first.cutout.copy()  # type: ignore[union-attr]
    del first
    for index in range(8):
        shade = person(255 if index % 2 else 128, (index * 30, 255, 0))
        compositor.compose(shade, 0, index)
    last = compositor.compose(person(0), 0, 9)
    assert np.array_equal(last.rgb, reference)
    assert np.array_equal(last.cutout, cutout)


# --- ownership ----------------------------------------------------------------------------------


def test_a_picture_that_somebody_holds_is_never_written_again() -> None:
    compositor = Compositor(Avatar(), ComposeSettings(cutout=True))
    held = []
    for index in range(24):
        made = compositor.compose(person(255, (index * 10, 0, 0)), 0, index)
        # One holds the picture, one a view of it, one a view of a view.
        keep = (made, made.rgb[::-1], made.rgb[5:][:, 5:])[index % 3]
        held.append((keep, made.rgb.copy() if index % 3 == 0 else keep.copy()))  # type: ignore[union-attr]
        del made
    for keep, content in held:
        assert np.array_equal(getattr(keep, "rgb", keep), content)


def test_buffers_are_reused_when_nobody_holds_them() -> None:
    ring = PictureRing(np.zeros((64, 64, 3), np.uint8))
    seen = set()
    for _ in range(50):
        seen.add(ring.take().ctypes.data)
        gc.collect(0)
    assert len(seen) == 3


# --- backgrounds and cut-out --------------------------------------------------------------------


@pytest.mark.parametrize("size", [(512, 512), (1280, 720)])
def test_backgrounds(size: tuple[int, int], tmp_path: Path) -> None:
    avatar = Avatar()

    def corner(background: Background) -> np.ndarray:
        compose = ComposeSettings(size=size, background=background, label=UNLABELLED)
        return Compositor(avatar, compose).compose(person(), 0, 0).rgb[:20, :20].astype(int)

    assert (corner(parse_background("colour:#102030")) == (0x10, 0x20, 0x30)).all()
    assert (corner(parse_background("transparent")) == 0).all()
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((300, 200, 3), (30, 20, 10), np.uint8))
    assert (corner(parse_background(f"image:{path}")) == (10, 20, 30)).all()
    stripes = np.zeros_like(avatar.background)
    stripes[:, ::8] = 255
    avatar.background = avatar.picture = stripes
    assert corner(parse_background("blur")).std() < 0.2 * corner(Background()).std()


@pytest.mark.parametrize("size", [(512, 512), (1280, 720)])
def test_the_cutout_over_black_is_the_transparent_picture(size: tuple[int, int]) -> None:
    avatar = Avatar()
    compose = ComposeSettings(size=size, background=parse_background("transparent"), cutout=True)
    made = Compositor(avatar, compose).compose(person(), 0, 0)
    assert made.cutout is not None
    alpha = made.cutout[..., 3:].astype(float) / 255
    assert np.abs(made.cutout[..., :3] * alpha - made.rgb).max() <= 3
    assert made.cutout[2, 2, 3] == 0
    middle = made.cutout[size[1] // 2, size[0] // 2]
    assert middle[3] == 255
    assert np.abs(middle[:3].astype(int) - (210, 60, 90)).max() <= 2


def test_shoulders_outside_of_the_square_stand_on_the_new_background() -> None:
    avatar = Avatar()
    avatar.picture_matte = np.zeros((900, 1200), np.uint8)
    avatar.picture_matte[500:] = 255  # a wide body
    green = parse_background("colour:#00ff00")
    compose = ComposeSettings(size=(1280, 720), background=green, cutout=True, label=UNLABELLED)
    compositor = Compositor(avatar, compose)
    made = compositor.compose(person(), 0, 0)
    framing = compositor.framing
    beside = (max(0, framing.x - 30), framing.height - 20)
    assert made.cutout is not None
    assert made.cutout[beside[1], beside[0], 3] == 255
    assert made.cutout[20, beside[0], 3] == 0
    assert tuple(made.rgb[20, beside[0]]) == (0, 255, 0)
    assert tuple(made.rgb[beside[1], beside[0]]) != (0, 255, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plaid", "choose original"),
        ("colour:#12", "#RRGGBB"),
        ("blur:much", "number"),
        ("blur:99", "between"),
        ("original:x", "choose original"),
        ("image:/no/such.png", "cannot read"),
        (f"image:{__file__}", "not a picture"),
    ],
)
def test_bad_backgrounds_are_refused_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_background(text)


def test_a_broken_image_is_a_picture_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(PictureError):
        parse_background(f"image:{tmp_path / 'a.png'}")


@pytest.mark.parametrize("size", [(511, 512), (512, 30), (10_000, 512)])
def test_sizes_that_video_cannot_have(size: tuple[int, int]) -> None:
    with pytest.raises(UserError):
        ComposeSettings(size=size)


# --- framing ------------------------------------------------------------------------------------

SIZES = st.sampled_from([(1280, 720), (1920, 1080), (640, 480), (720, 1280), (512, 512)])


@settings(max_examples=200)
@given(
    size=SIZES,
    width=st.integers(200, 2048),
    height=st.integers(200, 2048),
    face=st.tuples(st.floats(0.25, 0.75), st.floats(0.2, 0.7)),
    share=st.floats(0.2, 1.6),
)
def test_the_face_is_always_well_inside_the_frame(
    size: tuple[int, int], width: int, height: int, face: tuple[float, float], share: float
) -> None:
    side = share * min(width, height)
    crop = Box(face[0] * width - side / 2, face[1] * height - side / 2, side)
    framing = frame_portrait(size, crop, (width, height))
    centre = framing.x + framing.side / 2, framing.y + framing.side / 2
    assert 0.37 * size[0] < centre[0] < 0.63 * size[0]
    assert 0.37 * size[1] < centre[1] < 0.76 * size[1]
    assert 0.46 * framing.side < 0.78 * size[1], "the face oval fits"
    assert 0.46 * framing.side > 0.2 * min(size), "the face is not lost"
    # The picture moves with the square: the crop's corner maps to the square's corner.
    affine = framing.sampling()
    corner = affine @ (framing.x - 0.5, framing.y - 0.5, 1.0)
    assert corner == pytest.approx((crop.x - 0.5, crop.y - 0.5), abs=1e-6)


@pytest.mark.parametrize(
    ("size", "shortest"), [((1280, 720), 570), ((512, 512), 570), ((720, 1280), 620)]
)
def test_the_body_does_not_end_in_mid_air(size: tuple[int, int], shortest: int) -> None:
    crop = Box(100, 100, 600)
    # 570: a bust that ends below the chin, which no tall frame can hide.
    for picture_height in (shortest, 700, 1000, 2000):
        framing = frame_portrait(size, crop, (1600, picture_height))
        bottom = framing.picture_edges(1600, picture_height)[3]
        assert bottom >= framing.height - 1.5


# --- label --------------------------------------------------------------------------------------

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")


@pytest.mark.parametrize("language", WORDINGS)
def test_every_wording_can_be_drawn(language: str) -> None:
    for text in WORDINGS[language]:
        assert can_draw(text)
    assert make_label(LabelSettings(language=language), (512, 512)) is not None


def test_every_slate_text_can_be_drawn() -> None:
    assert set(_TEXTS) == set(WORDINGS)
    assert all(can_draw(text) for texts in _TEXTS.values() for text in texts.values())


def test_letters_differ() -> None:
    drawn = {text_mask(letter, 20)[0].tobytes() for letter in "abcdefghijklmnopqrstuvwxyzéüù"}
    assert len(drawn) == 29


@pytest.mark.parametrize(
    ("size", "corner", "label_size", "shade"),
    list(product([(512, 512), (1280, 720), (160, 90)], CORNERS, ["small", "large"], [0, 255])),
)
def test_the_label_is_in_its_corner_and_readable(
    size: tuple[int, int], corner: str, label_size: str, shade: int
) -> None:
    label = make_label(LabelSettings(corner=corner, size=label_size), size)  # type: ignore[arg-type]
    assert label is not None
    rgb = np.full((size[1], size[0], 3), shade, np.uint8)
    label.draw(rgb)
    changed = np.argwhere((rgb != shade).any(axis=2))
    (_, left), (bottom, right) = changed.min(0), changed.max(0)
    assert (bottom < size[1] / 2) == corner.startswith("top")
    assert min(left, size[0] - 1 - right) <= 0.1 * size[0]
    assert (left < size[0] - 1 - right) == corner.endswith("left") or right - left > 0.7 * size[0]
    patch = label.region(rgb).astype(float).mean(axis=2)
    dark, light = np.percentile(patch, 30), patch.max()
    # WCAG contrast of large text is 3:1; relative luminance of the two greys.
    luminance = [((v / 255 + 0.055) / 1.055) ** 2.4 for v in (light, dark)]
    assert (luminance[0] + 0.05) / (luminance[1] + 0.05) > 4.5


def test_the_label_cannot_be_left_out_without_saying_who_labels(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for nobody in ("", "  "):
        with pytest.raises(UserError, match="name it"):
            LabelSettings(elsewhere=nobody)
    with caplog.at_level(logging.WARNING):
        Compositor(Avatar(), ComposeSettings(label=LabelSettings(elsewhere="obs")))
    assert "labelled elsewhere by: obs" in caplog.text


def test_the_label_can_change_between_frames_and_leaves_no_trace() -> None:
    compositor = Compositor(Avatar(), ComposeSettings(size=(1280, 720), cutout=True))
    compositor.compose(person(), 0, 0)
    compositor.set_label(LabelSettings(corner="top-right", size="large"))
    got = compositor.compose(person(), 0, 1)
    wanted = ComposeSettings(
        size=(1280, 720), cutout=True, label=LabelSettings(corner="top-right", size="large")
    )
    fresh = Compositor(Avatar(), wanted).compose(person(), 0, 1)
    assert np.array_equal(got.rgb, fresh.rgb)
    assert np.array_equal(got.cutout, fresh.cutout)


def has_label(rgb: np.ndarray, settings: LabelSettings) -> bool:
    """By content: what is in the corner follows the label's own drawing, light and dark."""
    label = make_label(settings, (rgb.shape[1], rgb.shape[0]))
    assert label is not None
    opaque = label.rgba[..., 3] > 200
    found = label.region(rgb).astype(float).mean(axis=2)[opaque]
    drawn = label.rgba[..., :3].astype(float).mean(axis=2)[opaque]
    return found.std() > 20 and float(np.corrcoef(found, drawn)[0, 1]) > 0.9


@pytest.mark.parametrize("size", [(512, 512), (1280, 720)])
@pytest.mark.parametrize("spec", ["original", "colour:#ffffff", "blur", "transparent"])
def test_the_label_is_on_every_kind_of_picture(size: tuple[int, int], spec: str) -> None:
    compose = ComposeSettings(size=size, background=parse_background(spec), cutout=True)
    compositor = Compositor(Avatar(), compose)
    shown = compositor.compose(person(255, (255, 255, 255)), 0, 0)
    faded = cross_fade(shown, compositor.slate(0, 1), 0.5)
    pictures = [shown, faded, *(compositor.slate(0, 0, r) for r in ("away", "paused", "panic"))]
    for made in pictures:
        assert has_label(made.rgb, compose.label)
        assert made.cutout is not None
        assert has_label(made.cutout[..., :3], compose.label)
        label = make_label(compose.label, size)
        assert label is not None
        region = label.region(made.cutout)[..., 3]
        assert region[label.rgba[..., 3] > 215].min() > 200, "opaque, whatever lies behind"
    unlabelled = ComposeSettings(size=size, label=UNLABELLED)
    plain = Compositor(Avatar(), unlabelled).compose(person(255, (255, 255, 255)), 0, 0)
    assert not has_label(plain.rgb, compose.label), "the check itself can fail"


def test_the_label_arrives_on_every_sink(tmp_path: Path) -> None:
    """Looks into the recordings and the page, not into what was sent to them."""
    import urllib.request

    import av

    compositor = Compositor(Avatar())
    page = MjpegSink(0)
    fan = FanOut(512, 512, 30.0)
    for sink in (FileSink(tmp_path / "a.mp4"), FileSink(tmp_path / "a.webm"), page):
        fan.add(sink)
    for index in range(5):
        made = compositor.compose(person(), index * 33_000_000, index)
        fan.send(made if index % 2 else compositor.slate(index * 33_000_000, index))
    jpeg = urllib.request.urlopen(f"{page.url}picture.jpg", timeout=10).read()
    fan.close()
    shown = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]]
    for name in ("a.mp4", "a.webm"):
        with av.open(str(tmp_path / name)) as clip:
            frames = [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)]
        assert frames
        shown += frames
    assert all(has_label(rgb, LabelSettings()) for rgb in shown)


# --- slate and cross-fade -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [(512, 512), (1280, 720), (720, 1280)])
def test_the_slate_depends_on_the_avatar_alone(size: tuple[int, int]) -> None:
    """No pixel of what was composed before (nor of a driver, who is never given) is in it."""
    used, fresh = (Compositor(Avatar(), ComposeSettings(size=size)) for _ in range(2))
    for index in range(3):
        used.compose(person(255, (255, 0, 255)), 0, index)
    a, b = used.slate(10, 3), fresh.slate(10, 3)
    assert np.array_equal(a.rgb, b.rgb)
    assert a.rgb.shape == (size[1], size[0], 3)
    assert (a.captured_at_ns, a.index) == (10, 3)
    assert not np.array_equal(a.rgb, fresh.slate(0, 0, "panic").rgb)
    # Nor does the person of the portrait: only the in-painted background gives its tone.
    other = Avatar(picture=smooth_picture(1200, 900, 9))
    assert np.array_equal(Compositor(other, ComposeSettings(size=size)).slate(0, 0).rgb, a.rgb)


def test_cross_fade() -> None:
    before = Compositor(Avatar(), ComposeSettings(cutout=True)).compose(person(255), 1, 1)
    after = Compositor(Avatar(), ComposeSettings(cutout=True)).compose(person(0), 2, 2)
    assert np.array_equal(cross_fade(before, after, 0.0).rgb, before.rgb)
    assert np.array_equal(cross_fade(before, after, 1.0).rgb, after.rgb)
    half = cross_fade(before, after, 0.5)
    mean = (before.rgb.astype(float) + after.rgb) / 2
    assert np.abs(half.rgb - mean).max() <= 1
    assert (half.captured_at_ns, half.index) == (2, 2)
    assert half.cutout is not None
    assert abs(int(half.cutout[256, 256, 3]) - 128) <= 1
    assert np.abs(half.cutout[256, 256, :3].astype(int) - (210, 60, 90)).max() <= 3
    wide = Compositor(Avatar(), ComposeSettings(size=(1280, 720))).slate(0, 0)
    with pytest.raises(ValueError, match="cannot fade"):
        cross_fade(before, wide, 0.5)


def test_the_label_stays_readable_in_the_mirror() -> None:
    shown = Compositor(Avatar(), ComposeSettings(size=(512, 512))).compose(person(), 0, 0)
    assert shown.label is not None
    rows, columns = shown.label
    words = shown.rgb[rows, columns]
    assert words.max() > 200  # white on the pill
    sink = PreviewSink()
    sink.mirror = True
    mirrored = sink._decorated(shown)
    assert np.array_equal(mirrored[rows, 512 - columns.stop : 512 - columns.start], words)
    assert np.array_equal(mirrored[: rows.start], shown.rgb[: rows.start, ::-1])
