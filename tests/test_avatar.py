"""Avatars: made of real pictures, saved whole or not at all, read with suspicion."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.contract import GeneratorSpec
from engines.graph import GRAPH_VERSION
from puppet.avatar.background import remove_person
from puppet.avatar.bundle import Avatar, load_avatar, save_avatar
from puppet.avatar.consent import BASES, Consent
from puppet.avatar.create import MIN_FACE_PX, choose_face, create_avatar
from puppet.avatar.files import hash_of
from puppet.avatar.framing import (
    FACE_CENTRE,
    FACE_OVAL,
    FACE_SHARE,
    CropBox,
    cut,
    frame_face,
    oval_mask,
)
from puppet.avatar.images import header_size
from puppet.avatar.matting import foreground_colours, refine_matte
from puppet.avatar.person import Segmenter, believable, person_in_crop
from puppet.avatar.store import avatars_dir, bundle_path, list_avatars
from puppet.avatar.tensors import portrait_tensors
from puppet.contract import BundleError, Landmarks, PictureError, Rgb, UserError
from puppet.draw import DRAW_STYLE
from puppet.track import find_faces
from puppet.track.follow import face_box, overlap

PORTRAITS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "portraits"
CONSENT = Consent("public-domain", "Eileen Collins (NASA)")


def astronaut() -> Rgb:
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)


def write(path: Path, rgb: np.ndarray[Any, Any], *options: int) -> Path:
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    image = rgb if rgb.ndim == 2 else rgb[:, :, order[rgb.shape[2]]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(image), list(options))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    folder = tmp_path_factory.mktemp("made")
    photo = write(folder / "photo.png", astronaut())
    return create_avatar(photo, "astronaut", CONSENT, folder=folder / "astronaut.avatar")


@pytest.fixture
def saved(made: Avatar, tmp_path: Path) -> Path:
    return save_avatar(dataclasses.replace(made, folder=tmp_path / "astronaut.avatar"))


# Making one


def test_the_face_has_its_place_in_the_crop(made: Avatar) -> None:
    oval = made.landmarks.points[list(FACE_OVAL), :2] / 512
    low, high = oval.min(axis=0), oval.max(axis=0)
    assert high[1] - low[1] == pytest.approx(FACE_SHARE, abs=0.01)
    assert tuple((low + high) / 2) == pytest.approx(FACE_CENTRE, abs=0.01)
    # And the crop shows what its landmarks say: found again in its own pixels.
    (again,) = find_faces(made.portrait)
    assert float(np.abs(again.points[:, :2] - made.landmarks.points[:, :2]).mean()) < 4


def test_the_matte_is_a_head_and_shoulders(made: Avatar) -> None:
    alpha = made.matte
    assert alpha.shape == (512, 512)
    assert (alpha[oval_mask(made.landmarks) > 0] > 250).mean() > 0.99
    assert (alpha[:60, :60] < 5).all()  # the wall
    assert (alpha[480:, 200:300] > 250).mean() > 0.95  # the neck and suit
    soft = (alpha > 20) & (alpha < 235)
    assert 0.002 < soft.mean() < 0.1  # hair is neither cut with scissors nor fog


def test_a_scan_s_white_margin_does_not_glow_into_the_hole() -> None:
    picture = np.full((400, 400, 3), (60, 90, 120), np.uint8)
    picture[:3] = 255
    y, x = np.mgrid[:400, :400]
    person = (np.hypot((x - 200) / 110, (y - 200) / 185) < 1).astype(np.float32)
    background = remove_person(picture, person)
    where = background[6:60, 170:230].astype(int)
    assert np.abs(where - (60, 90, 120)).max() < 12
    assert (background[:3, :20] == 255).all(), "what is known stays"


def test_the_background_is_empty_and_the_rest_is_untouched(made: Avatar) -> None:
    assert made.background.shape == made.picture.shape == (512, 512, 3)
    (person,) = find_faces(made.picture)
    for ghost in find_faces(made.background):  # detectors also see faces in clouds
        assert overlap(face_box(ghost), face_box(person)) < 0.2
    away = made.picture_matte == 0
    away = cv2.erode(away.astype(np.uint8), np.ones((41, 41))) > 0
    assert away.sum() > 5000
    difference = np.abs(made.background.astype(int) - made.picture)
    assert difference[away].max() <= 2
    inside = made.picture_matte > 250
    assert difference[inside].mean() > 20


def test_the_consent_record_names_the_picture(made: Avatar) -> None:
    photo = made.folder.parent / "photo.png"
    assert made.consent.picture_sha256 == hash_of(photo.read_bytes())
    assert (made.consent.basis, made.consent.whose) == (CONSENT.basis, CONSENT.whose)


def test_making_it_twice_gives_the_same(made: Avatar, tmp_path: Path) -> None:
    again = create_avatar(made.folder.parent / "photo.png", "x", CONSENT, folder=tmp_path)
    for name in ("portrait", "matte", "background", "picture_matte"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))


def _grey(folder: Path) -> Path:
    return write(folder / "grey.png", cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY))


def _deep(folder: Path) -> Path:
    return write(folder / "deep.png", astronaut().astype(np.uint16) * 257)


def _odd(folder: Path) -> Path:
    return write(folder / "odd.jpg", astronaut()[:311, 51:412])


def _big(folder: Path) -> Path:
    return write(folder / "big.jpg", cv2.resize(astronaut(), (3465, 3465)))


def _webp(folder: Path) -> Path:
    return write(folder / "picture.webp", astronaut())


def _turned(folder: Path) -> Path:
    """Stored lying on its side, with the EXIF note that a phone writes."""
    lying = cv2.rotate(astronaut(), cv2.ROTATE_90_COUNTERCLOCKWISE)
    path = write(folder / "turned.jpg", lying)
    jpeg = path.read_bytes()
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6: turn right to view
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    exif = b"Exif\0\0" + tiff
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    return path


@pytest.mark.parametrize("make", [_grey, _deep, _odd, _big, _webp, _turned])
def test_pictures_as_they_come(make: Callable[[Path], Path], tmp_path: Path) -> None:
    avatar = create_avatar(make(tmp_path), "a", CONSENT, folder=tmp_path / "a.avatar")
    assert max(avatar.picture.shape) <= 2048
    assert avatar.picture.shape == avatar.background.shape
    oval = oval_mask(avatar.landmarks) > 0
    assert (avatar.matte[oval] > 200).mean() > 0.95
    eyes, chin = avatar.landmarks.points[[33, 263], 1].mean(), avatar.landmarks.points[152, 1]
    assert eyes < chin  # upright


def test_a_cut_out_picture_keeps_its_own_alpha(made: Avatar, tmp_path: Path) -> None:
    circle = np.zeros((512, 512), np.uint8)
    cv2.circle(circle, (226, 120), 110, (255,), cv2.FILLED)
    path = write(tmp_path / "cut.png", np.dstack([astronaut(), circle]))
    avatar = create_avatar(path, "a", CONSENT, folder=tmp_path / "a.avatar")
    expected = cut(circle, avatar.crop)
    assert np.abs(avatar.matte.astype(int) - expected).mean() < 2
    np.testing.assert_array_equal(avatar.picture_matte, circle)


def test_no_face(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    with pytest.raises(PictureError, match="No face was found"):
        create_avatar(write(tmp_path / "n.png", noise), "n", CONSENT)


def test_several_faces_are_listed_and_one_is_chosen(tmp_path: Path) -> None:
    head = astronaut()[0:256, 96:352]
    two = write(tmp_path / "two.png", np.hstack([cv2.resize(head, (400, 400))] * 2))
    with pytest.raises(PictureError, match="2 faces") as raised:
        create_avatar(two, "n", CONSENT)
    assert "1: left" in str(raised.value)
    assert "2: right" in str(raised.value)
    right = create_avatar(two, "n", CONSENT, face=2, folder=tmp_path / "n.avatar")
    assert right.crop.x + right.crop.side / 2 > 400
    # The neighbour is background now, not part of the person.
    assert right.picture_matte[100:250, 100:250].mean() < 30
    with pytest.raises(PictureError, match="numbered 1 to 2"):
        create_avatar(two, "n", CONSENT, face=3)


def test_numbers_of_faces_are_those_of_the_list_whoever_stands_in_the_background() -> None:
    def at(x: float, height: float) -> Landmarks:
        points = np.zeros((478, 3), np.float32)
        points[:, 0] = x + np.linspace(-20, 20, 478)
        points[:, 1] = 200 + height * np.linspace(-0.5, 0.5, 478)
        return Landmarks(points, 1000, 400)

    passer_by, left, right = at(50, 60), at(400, 300), at(800, 300)
    faces, path = [right, passer_by, left], Path("party.png")
    with pytest.raises(PictureError, match="There are 2 faces") as raised:
        choose_face(faces, path, 1.0, None)
    assert "(400, 200)" in str(raised.value).splitlines()[1]
    assert choose_face(faces, path, 2.0, 1) is left
    assert choose_face(faces, path, 2.0, 2) is right
    assert choose_face(faces, path, 2.0, 3) is passer_by


def test_too_small_says_the_pixels(tmp_path: Path) -> None:
    small = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    with pytest.raises(PictureError, match=rf"too small: \d+ pixels.*least {MIN_FACE_PX}"):
        create_avatar(write(tmp_path / "s.png", small), "n", CONSENT)


def test_no_consent_names_every_basis(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="consent") as raised:
        create_avatar(write(tmp_path / "p.png", astronaut()), "n", None)
    assert all(basis in str(raised.value) for basis in BASES)
    with pytest.raises(UserError, match="no basis"):
        Consent("celebrity")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        (b"GIF89a" + b"\0" * 40, "JPEG, PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 90_000, 90_000), "megapixels"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 300, 300), "damaged"),
    ],
)
def test_files_that_are_no_pictures(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=message):
        create_avatar(path, "n", CONSENT)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="does not exist"):
        create_avatar(tmp_path / "none.jpg", "n", CONSENT)
    with pytest.raises(PictureError, match="folder"):
        create_avatar(tmp_path, "n", CONSENT)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\\b", "con", "x" * 65, "a\n"])
def test_names_that_are_no_names(name: str) -> None:
    with pytest.raises(UserError, match="name"):
        create_avatar("p.jpg", name, CONSENT)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lp_s9", "lp_s10", "lp_s12", "lp_s6", "lp_s7"])
def test_the_founding_portraits(name: str, tmp_path: Path) -> None:
    path = PORTRAITS / f"{name}.jpg"
    if not path.is_file():
        pytest.skip("the shared portraits are not beside the project")
    avatar = create_avatar(path, name, Consent("public-domain"), folder=tmp_path / "a.avatar")
    assert (avatar.matte[oval_mask(avatar.landmarks) > 0] > 240).mean() > 0.98
    assert 0.15 < (avatar.matte > 127).mean() < 0.9
    (person,) = find_faces(avatar.picture)
    for ghost in find_faces(avatar.background):
        assert overlap(face_box(ghost), face_box(person)) < 0.2


# The parts


def test_crop_and_back_is_the_same_place() -> None:
    (face,) = find_faces(astronaut())
    box = frame_face(face)
    back = box.to_picture(box.to_crop(face), face.width, face.height)
    np.testing.assert_allclose(back.points, face.points, atol=1e-3)


@pytest.mark.parametrize("side", [64.0, 512.0, 1400.0])
def test_cut_puts_pixels_where_the_landmarks_go(side: float) -> None:
    picture = np.zeros((1500, 1500), np.uint8)
    cv2.circle(picture, (700, 650), max(2, int(side / 40)), (255,), cv2.FILLED)
    box = CropBox(700 - 0.4 * side, 650 - 0.3 * side, side)
    crop = cut(picture, box).astype(np.float64)
    rows, columns = np.mgrid[0:512, 0:512]
    centre = (crop * columns).sum() / crop.sum(), (crop * rows).sum() / crop.sum()
    scale = 512 / side
    expected = 0.4 * 512 + 0.5 * scale - 0.5, 0.3 * 512 + 0.5 * scale - 0.5
    assert centre == pytest.approx(expected, abs=0.6)


def test_a_crop_reaching_outside_repeats_the_border() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    crop = cut(picture, CropBox(-100, 0, 512))
    assert (crop[:, :95] == crop[:, :1]).all()


def test_matting_finds_hair_and_its_colour() -> None:
    """Dark strands over a light wall, and a rough mask that knows nothing of strands."""
    rng = np.random.default_rng(0)
    drawn = np.zeros((512, 512), np.uint8)
    cv2.circle(drawn, (256, 300), 120, (255,), cv2.FILLED, cv2.LINE_AA)
    rough = cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), 4)
    for angle in np.linspace(np.pi * 1.1, np.pi * 1.9, 25):
        tip = (int(256 + 130 * np.cos(angle)), int(300 + 130 * np.sin(angle)))
        cv2.line(drawn, (256, 300), tip, (255,), 2, cv2.LINE_AA)
    truth = drawn.astype(np.float32) / 255
    hair, wall = np.array([60, 35, 20.0]), np.array([200, 215, 230.0])
    rgb = truth[..., None] * hair + (1 - truth[..., None]) * wall
    rgb = np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)
    alpha = refine_matte(rgb, rough.astype(np.float32))
    near = (cv2.dilate(truth, np.ones((9, 9))) > 0) & (cv2.erode(truth, np.ones((9, 9))) < 1)
    before = np.abs(rough - truth)[near].mean()
    after = np.abs(alpha - truth)[near].mean()
    assert after < 0.6 * before
    front = foreground_colours(rgb, truth)
    edge = (truth > 0.2) & (truth < 0.8)
    halo = np.abs(rgb[edge] - hair).mean()
    assert np.abs(front[edge] - hair).mean() < 0.15 * halo
    assert (np.abs(foreground_colours(rgb, np.ones_like(truth)).astype(int) - rgb) <= 1).all()


def test_without_the_network_colours_find_the_person(made: Avatar) -> None:
    segmenter = Segmenter()
    segmenter.close()
    assert not segmenter.available
    crop = np.asarray(cut(made.picture, made.crop), np.uint8)
    rough = person_in_crop(segmenter, crop, made.landmarks)
    assert believable(rough, made.landmarks)
    both = ((rough > 0.5) & (made.matte > 127)).sum()
    either = ((rough > 0.5) | (made.matte > 127)).sum()
    assert both / either > 0.8


def test_nonsense_masks_are_not_believed(made: Avatar) -> None:
    face = made.landmarks
    for nonsense in (np.zeros((512, 512)), np.ones((512, 512)), oval_mask(face) / 255.0):
        assert not believable(nonsense.astype(np.float32), face)


# Bundles


def test_saved_and_loaded_is_the_same(made: Avatar, saved: Path) -> None:
    loaded = load_avatar(saved)
    for name in ("portrait", "matte", "picture_matte"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(made, name))
    for name in ("landmarks", "neutral"):
        np.testing.assert_array_equal(getattr(loaded, name).points, getattr(made, name).points)
    assert (loaded.crop, loaded.consent, loaded.meta) == (made.crop, made.consent, made.meta)
    assert np.abs(loaded.background.astype(int) - made.background).mean() < 2  # JPEG


def test_found_by_name_and_listed(made: Avatar, home: Path) -> None:
    assert list_avatars() == []
    with pytest.raises(BundleError, match="none yet"):
        load_avatar("astronaut")
    target = avatars_dir() / "astronaut.avatar"
    save_avatar(dataclasses.replace(made, folder=target))
    (avatars_dir() / ".x.avatar").mkdir()
    assert list_avatars() == ["astronaut"]
    assert load_avatar("astronaut").folder == target
    with pytest.raises(BundleError, match="There are: astronaut"):
        load_avatar("nobody")


def test_saving_replaces_only_when_told_and_leaves_nothing_behind(
    made: Avatar, saved: Path
) -> None:
    other = dataclasses.replace(
        made, folder=saved, consent=Consent("self", picture_sha256="0" * 64)
    )
    with pytest.raises(UserError, match="already"):
        save_avatar(other)
    assert load_avatar(saved).consent.basis == "public-domain"
    save_avatar(other, overwrite=True)
    assert load_avatar(saved).consent.basis == "self"
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_failed_save_keeps_the_old_one(made: Avatar, saved: Path) -> None:
    broken = dataclasses.replace(made, folder=saved, meta={"draw_style": float("nan")})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="JSON"):
        save_avatar(broken, overwrite=True)
    assert load_avatar(saved).consent == made.consent
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def manifest(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "avatar.json").read_text(encoding="utf-8"))
    return values


def rewrite(folder: Path, values: dict[str, Any]) -> None:
    (folder / "avatar.json").write_text(json.dumps(values), encoding="utf-8")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Puts a hostile file in, with the right hash: only its content is wrong."""
    (folder / name).write_bytes(content)
    values = manifest(folder)
    values["files"][name] = {"sha256": hash_of(content), "bytes": len(content)}
    rewrite(folder, values)


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def points_file(points: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, points=points, neutral=np.zeros((478, 3), np.float32))
    return buffer.getvalue()


def test_a_bundle_made_before_teeth_were_drawn_is_as_good(saved: Path) -> None:
    set_value("draw_style", value="contours3x256+motion128/1")(saved)
    assert load_avatar(saved).name == "astronaut"


def set_value(*path: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        values = manifest(folder)
        table = values
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value
        rewrite(folder, values)

    return change


def set_file(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: replace_file(folder, name, content)


def link_file(folder: Path) -> None:
    shutil.move(folder / "matte.png", folder.parent / "elsewhere.png")
    os.symlink(folder.parent / "elsewhere.png", folder / "matte.png")


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "portrait.png").read_bytes())
    content[-40] ^= 1
    (folder / "portrait.png").write_bytes(content)


def truncate(folder: Path) -> None:
    content = (folder / "picture.jpg").read_bytes()
    replace_file(folder, "picture.jpg", content[:40])


NAN_POINTS = np.zeros((478, 3), np.float32)
NAN_POINTS[7, 1] = np.nan
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed file": (flip_a_bit, "portrait.png is not the file"),
    "missing file": (lambda folder: (folder / "matte.png").unlink(), "matte.png is missing"),
    "no manifest": (lambda folder: (folder / "avatar.json").unlink(), "avatar.json is missing"),
    "symbolic link": (link_file, "link"),
    "no json": (lambda f: (f / "avatar.json").write_text("{"), "not valid"),
    "not utf-8": (lambda f: (f / "avatar.json").write_bytes(b"\xff\xfe{}"), "not valid"),
    "deep json": (lambda f: (f / "avatar.json").write_text("[" * 100_000), "not valid"),
    "huge json": (lambda f: (f / "avatar.json").write_text(" " * 400_000), "bytes"),
    "a list": (lambda f: (f / "avatar.json").write_text("[1]"), "schema"),
    "newer schema": (set_value("schema", value=2), "Update"),
    "nan": (set_value("crop", "x", value=float("nan")), "NaN"),
    "endless crop": (set_value("crop", "side", value=1e12), "out of range"),
    "no crop": (set_value("crop", value=None), "crop"),
    "text for number": (set_value("crop", "y", value="1"), "numbers"),
    "flat crop": (set_value("crop", "side", value=0), "crop"),
    "path as name": (set_value("name", value="../../x"), "name"),
    "draw style": (set_value("draw_style", value="other/9"), "Create the avatar again"),
    "no consent": (set_value("consent", value=None), "no consent record"),
    "wrong consent": (set_value("consent", "basis", value="found it"), "no basis"),
    "consent date": (set_value("consent", "date", value="yesterday"), "not a date"),
    "no file list": (set_value("files", value={}), "does not list"),
    "bomb": (set_file("matte.png", png_bomb(100_000, 100_000)), "100000 x 100000"),
    "bomb as picture": (set_file("picture.jpg", png_bomb(65_000, 65_000)), "at most 2048"),
    "wrong size": (set_file("matte.png", png_bomb(256, 256)), "256 x 256"),
    "no picture": (set_file("portrait.png", b"hello"), "not a picture"),
    "truncated": (truncate, "picture.jpg"),
    "few points": (
        set_file("landmarks.npz", points_file(np.zeros((68, 3), np.float32))),
        r"shape \(68, 3\)",
    ),
    "double points": (set_file("landmarks.npz", points_file(np.zeros((478, 3)))), "float64"),
    "nan points": (set_file("landmarks.npz", points_file(NAN_POINTS)), "not numbers"),
    "pickle": (
        set_file("landmarks.npz", points_file(np.array([{}], dtype=object))),
        "cannot be read",
    ),
    "points bomb": (
        set_file("landmarks.npz", points_file(np.zeros((3_000_000, 3), np.float32))),
        "something else",
    ),
    "no points": (set_file("landmarks.npz", b"PK"), "cannot be read"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bundles_get_a_sentence(what: str, saved: Path) -> None:
    change, message = HOSTILE[what]
    assert load_avatar(saved).name == "astronaut"
    change(saved)
    with pytest.raises(BundleError, match=message) as raised:
        load_avatar(saved)
    assert str(raised.value).rstrip().endswith((".", "…"))


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    photo = write(tmp_path / "me.jpg", astronaut())
    with pytest.raises(BundleError, match=r"avatar create me\.jpg"):
        load_avatar(str(photo))


def test_headers_are_read_without_decoding(tmp_path: Path) -> None:
    picture = np.zeros((33, 57, 3), np.uint8)
    for suffix in ("png", "jpg", "webp", "bmp"):
        path = write(tmp_path / f"p.{suffix}", picture)
        assert header_size(path.read_bytes()) == (57, 33), suffix
    small, large = (
        write(tmp_path / n, picture[:k]).read_bytes() for n, k in (("a.jpg", 8), ("b.jpg", 33))
    )
    assert header_size(small[:2] + large[2:]) == (57, 33)
    assert header_size(b"\xff\xd8\xff") is None
    assert header_size(b"") is None


# The generator's inputs


def test_portrait_tensors_are_kept_and_made_again_when_something_changed(
    made: Avatar, saved: Path
) -> None:
    avatar = load_avatar(saved)
    spec = GeneratorSpec("coarse", DRAW_STYLE, "0" * 64, GRAPH_VERSION)
    first = portrait_tensors(avatar, spec)
    path = saved / "tensors-coarse.safetensors"
    written = path.read_bytes()
    again = portrait_tensors(avatar, spec)
    assert first.keys() == again.keys()
    assert all((first[name] == again[name]).all() for name in first)
    assert path.read_bytes() == written
    # Other weights: made again, not refused; and so is a damaged file.
    portrait_tensors(avatar, dataclasses.replace(spec, weights_sha256="1" * 64))
    assert path.read_bytes() != written
    for damage in (written[:-9] + b"\x7f" * 9, b"", b"\xff" * 64, written[:50]):
        path.write_bytes(damage)
        mended = portrait_tensors(avatar, spec)
        assert all((first[name] == mended[name]).all() for name in first)
        assert path.read_bytes() == written
    assert load_avatar(saved).name == "astronaut"


def test_file_given_as_avatar_says_whether_it_could_become_one(tmp_path: Path) -> None:
    no = "not a picture that could become one"
    for name, head, remedy in (
        ("face.JPG", b"\xff\xd8\xff\xe0", "avatar create face.JPG"),
        ("face.heic", b"\0\0\0\x18ftypheic", f"{no} .HEIC.*Export it as JPEG"),
        ("scan.tif", b"II*\0", f"{no} .TIFF.*Export it as JPEG"),
        ("take.npz", b"PK\3\4", f"{no}.*avatar list"),
        ("nothing.png", b"", f"{no}: the file is empty"),
    ):
        (tmp_path / name).write_bytes(head)
        with pytest.raises(BundleError, match=f"not an avatar but a file.*{remedy}"):
            bundle_path(tmp_path / name)
