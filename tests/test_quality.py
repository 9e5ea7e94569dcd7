"""The quality benchmark: its numbers on cases with known answers, and a run on real clips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality import metrics
from benchmarks.quality.__main__ import main
from benchmarks.quality.clips import Clip, Unusable, choose, find_clips, square
from benchmarks.quality.cross import _following
from benchmarks.quality.faces import FaceReader, angles, compare_faces, expression
from benchmarks.quality.matte import matte_steadiness
from benchmarks.quality.methods import Engine, EngineChoice, Trained
from benchmarks.quality.perceptual import Perceptual
from benchmarks.quality.sitter import Sitter
from calibrate.losses import SqueezeNetFeatures
from puppet.avatar.framing import CropBox
from puppet.contract import Landmarks
from puppet.draw import DRAW_STYLE
from puppet.landmarks import LIPS_OUTER, RIGHT_EYE
from puppet.retarget.pose import to_matrix
from tests.faces import face

Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def astronaut() -> Rgb:
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the tests' face")
    picture: Rgb = data.astronaut()
    return picture


# --- pictures -------------------------------------------------------------------------------


def test_psnr_of_a_known_difference(astronaut: Rgb) -> None:
    dark = np.full((64, 64, 3), 100, np.uint8)
    assert metrics.psnr(dark + np.uint8(10), dark) == pytest.approx(10 * np.log10(255**2 / 100))
    assert metrics.psnr(astronaut, astronaut) == metrics.HIGHEST_PSNR
    half = dark.copy()
    half[:32] += 10
    mask = np.zeros((64, 64), np.bool_)
    mask[40:] = True
    assert metrics.psnr(half, dark, mask) == metrics.HIGHEST_PSNR
    assert metrics.psnr(half, dark, ~mask) < 30


def test_ssim_is_the_published_one(astronaut: Rgb) -> None:
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    blurred = np.asarray(cv2.GaussianBlur(astronaut, (0, 0), 2.0), np.uint8)
    expected = reference(
        blurred, astronaut, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, data_range=255,
    )  # fmt: skip
    assert metrics.ssim(blurred, astronaut) == pytest.approx(expected, abs=1e-4)
    assert metrics.ssim(astronaut, astronaut) == pytest.approx(1.0)


def test_regions_lie_on_mouth_and_eyes_and_follow_the_face() -> None:
    here, there = face(), face(centre=(296.0, 230.0))
    areas = metrics.regions(here, 256)
    lips = np.rint(here.points[list(LIPS_OUTER), :2] / 2 - 0.5).astype(int)
    lids = np.rint(here.points[list(RIGHT_EYE), :2] / 2 - 0.5).astype(int)
    assert areas["mouth"][lips[:, 1], lips[:, 0]].all()
    assert areas["eyes"][lids[:, 1], lids[:, 0]].all()
    assert not (areas["mouth"] & areas["eyes"]).any()
    assert 0.005 < areas["mouth"].mean() < 0.05
    moved = metrics.regions(there, 256)["mouth"]
    np.testing.assert_array_equal(np.roll(areas["mouth"], 20, 1), moved)


def test_flicker_counts_only_where_the_truth_stands_still() -> None:
    rng = np.random.default_rng(0)
    truth = np.full((128, 128, 3), 120, np.uint8)
    later = truth.copy()
    later[:, 64:] = 200  # the right half changes in the truth
    swims = truth.copy()
    swims[:, :64] += rng.integers(0, 40, (128, 64, 1)).astype(np.uint8)
    follows = later.copy()

    assert metrics.temporal((truth, follows), (truth, later)) == {
        "flicker": 0.0, "temporal_error": 0.0,
    }  # fmt: skip
    assert metrics.temporal((truth, swims), (truth, truth))["flicker"] > 3
    still = metrics.temporal((truth, truth), (truth, later))
    assert still["flicker"] == 0.0
    assert still["temporal_error"] == pytest.approx(40, abs=2)  # half of the picture by 80
    everywhere = metrics.temporal((truth, truth), (truth, truth + np.uint8(50)))
    assert everywhere["flicker"] is None


def test_a_matte_is_steady_when_its_edge_passes_evenly() -> None:
    columns = np.arange(64, dtype=np.float32)[None].repeat(16, 0)

    def edge(at: float) -> np.ndarray:
        return np.clip((columns - at) * 16, 0, 255).astype(np.uint8)

    still = [edge(20.0)] * 5
    even = matte_steadiness(still, [edge(20 + 0.5 * t) for t in range(12)])
    assert even["matte_shimmer"] == 0
    trembling = [edge(20.0 + (t % 2)) for t in range(12)]
    shaken = matte_steadiness(trembling, trembling)
    assert shaken["matte_shimmer"] is not None
    assert shaken["matte_shimmer"] > 10
    assert even["matte_roughness"] is not None
    assert shaken["matte_roughness"] == pytest.approx(2, abs=0.05)
    assert even["matte_roughness"] < 0.4
    empty = [np.zeros((4, 4), np.uint8)] * 3
    assert matte_steadiness(empty, empty) == {"matte_shimmer": None, "matte_roughness": None}


def test_perceptual_distance_by_region(tmp_path: Path, astronaut: Rgb) -> None:
    weights = random_squeezenet(tmp_path)
    perceptual = Perceptual(weights)
    truth = np.ascontiguousarray(astronaut[:128, 160:288])
    damaged = truth.copy()
    damaged[:40] = 255 - damaged[:40]
    top = np.zeros((128, 128), np.bool_)
    top[:30] = True
    bottom = np.zeros((128, 128), np.bool_)
    bottom[110:] = True
    nothing = np.zeros((128, 128), np.bool_)
    regions = {"top": top, "bottom": bottom, "nothing": nothing}
    found = perceptual.compare({"same": truth, "damaged": damaged}, truth, regions)
    assert found["same"]["perceptual"] == pytest.approx(0, abs=1e-6)
    assert found["damaged"]["perceptual_nothing"] is None
    numbers = [found["damaged"][f"perceptual{name}"] for name in ("_top", "", "_bottom")]
    top_, all_, bottom_ = (n for n in numbers if n is not None)
    assert top_ > all_ > bottom_


def random_squeezenet(folder: Path) -> Path:
    """A file of SqueezeNet's shapes with random weights."""
    import torch

    rng = np.random.default_rng(0)
    # The shapes are taken from an instance made without a file.
    blank = SqueezeNetFeatures.__new__(SqueezeNetFeatures)
    with pytest.raises(FileNotFoundError):
        blank.__init__(folder / "absent.npz")  # type: ignore[misc]
    arrays = {}
    for name, module in blank.named_children():
        assert isinstance(module, torch.nn.Conv2d)
        for part in ("weight", "bias"):
            shape = tuple(getattr(module, part).shape)
            values = rng.normal(0, 0.05, shape).astype(np.float32)
            arrays[f"{name.replace('_', '.')}.{part}"] = values
    path = folder / "squeezenet.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


# --- faces ----------------------------------------------------------------------------------


def test_faces_are_compared_in_units_of_the_eyes() -> None:
    truth = face()
    same = compare_faces(truth, truth)
    assert same == {"landmark_error": 0.0, "lip_error": 0.0, "lid_error": 0.0}
    shifted = compare_faces(face(centre=(256.0 + 13.0, 230.0)), truth)
    assert shifted["landmark_error"] == pytest.approx(0.1, abs=0.002)  # the unit is 130 pixels
    assert shifted["lip_error"] == pytest.approx(0, abs=1e-4)
    opened = compare_faces(face(mouth_open=0.2), truth)["lip_error"]
    assert 0.05 < opened < 0.3
    assert compare_faces(face(lids=0.0), truth)["lid_error"] > 0.1


def test_expression_reads_the_pose() -> None:
    for turn in ((0.2, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, -0.25)):
        yaw, pitch, roll = angles(to_matrix(np.array(turn)))
        np.testing.assert_allclose((pitch, yaw, roll), np.degrees(turn), atol=1e-6)
        seen = expression(face(turn=turn))
        np.testing.assert_allclose((seen.pitch, seen.yaw, seen.roll), np.degrees(turn), atol=0.5)


# --- clips ----------------------------------------------------------------------------------


def test_a_head_clip_is_used_whole_and_others_are_cut() -> None:
    head = face(unit=110.0)
    assert square(head) == CropBox(0.0, 0.0, 512.0)
    small = face(unit=60.0)
    assert square(small).side < 400
    wide = square(face(unit=110.0, width=1280, height=720, centre=(1200.0, 60.0)))
    assert wide.side <= 720
    assert 0 <= wide.x <= 1280 - wide.side
    assert 0 <= wide.y <= 720 - wide.side


@pytest.mark.parametrize("frames", [10, None])
def test_tests_do_not_depend_on_shots_and_keep_away_from_them(frames: int | None) -> None:
    clip = synthetic_clip(seen=range(4, 200))
    several = choose(clip, frames=frames, shots=8)
    assert len(several.shots) == 8
    assert several.shots[0] == 4
    assert not set(several.shots) & set(several.tests)
    assert all(abs(a - b) >= 3 for a in several.shots[1:] for b in several.tests)
    if frames:
        assert several.tests == choose(clip, frames=frames, shots=1).tests
        assert several.tests[0] == 5
        assert several.tests[-1] == 199
    with pytest.raises(Unusable, match="too short"):
        choose(synthetic_clip(seen=range(12)), frames=10, shots=8)


def synthetic_clip(seen: range) -> Clip:
    faces = dict.fromkeys(seen, face())
    times = {i: i * 40_000_000 for i in seen}
    return Clip(
        "clip",
        Path("clip.mp4"),
        25.0,
        CropBox(0, 0, 512),
        faces,
        times,
        dict.fromkeys(faces, (0.5, 0.4)),
    )


# --- the whole ------------------------------------------------------------------------------


def untrained(folder: Path) -> Path:
    """A weights file of the small tier, as training writes it before its first step."""
    import torch

    from engines.network import Network
    from engines.weights import write_weights

    torch.manual_seed(0)
    tensors = {k: v.detach().numpy() for k, v in Network("small").state_dict().items()}
    path = folder / "small.safetensors"
    write_weights(path, tensors, tier="small", draw_style=DRAW_STYLE)
    return path


def test_engine_and_torch_paint_the_same(
    tmp_path: Path, astronaut: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "cache"))
    weights = untrained(tmp_path)
    matte = np.zeros((512, 512), np.uint8)
    matte[100:, 100:400] = 255
    sitter = Sitter(astronaut, matte, astronaut[::-1].copy(), face())
    pictures = []
    for animator in (
        Engine(EngineChoice(weights=weights, precision="f32")),
        Trained(weights),
    ):
        animator.sit(sitter)
        pictures.append(animator.picture(face(mouth_open=0.2, turn=(0.0, 0.1, 0.0))))
    difference = cv2.absdiff(pictures[0], pictures[1])
    assert difference.mean() < 0.1
    assert np.abs(pictures[1].astype(int) - astronaut).mean() > 1


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, astronaut: Rgb) -> Path:
    """A moving face in a wide picture, a clip without a face, and rubbish."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "moving.mp4", swaying(astronaut, 14))
    noise = np.random.default_rng(0).integers(0, 255, (4, 120, 160, 3)).astype(np.uint8)
    write_video(folder / "nobody.mp4", iter(noise))
    (folder / "rubbish.mp4").write_bytes(b"not a video" * 100)
    return folder


def swaying(picture: Rgb, count: int) -> Iterator[Rgb]:
    """The person of a picture, shifting and tilting within 640 x 400 pixels."""
    for k in range(count):
        angle = 6 * np.sin(2 * np.pi * k / count)
        matrix = cv2.getRotationMatrix2D((225.0, 120.0), angle, 1.0)
        matrix[:, 2] += (90 + 12 * k / count, 60)
        yield np.asarray(
            cv2.warpAffine(picture, matrix, (640, 400), borderMode=cv2.BORDER_REPLICATE), np.uint8
        )


def write_video(path: Path, pictures: Iterator[Rgb]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = None
        for k, rgb in enumerate(pictures):
            if stream is None:
                stream = container.add_stream("mpeg4", rate=25)
                stream.width, stream.height = rgb.shape[1], rgb.shape[0]
                stream.bit_rate = 4_000_000
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode())


def test_a_run_on_any_folder(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out" / "result.json"
    status = main(
        ["--clips", str(clips), "--json", str(out), "--size", "128", "--frames", "3",
         "--weights", str(untrained(tmp_path)), "--runtime", "torch",
         "--perceptual", str(random_squeezenet(tmp_path)), "--dump", str(tmp_path / "dump")]
    )  # fmt: skip
    assert status == 0
    result = json.loads(out.read_text())
    assert set(result["clips"]) == {"moving"}
    assert result["skipped"].keys() == {"nobody", "rubbish"}
    assert result["skipped"]["nobody"] == "no face"
    mean = result["mean"]
    required = {
        "psnr", "ssim", "perceptual", "psnr_mouth", "psnr_eyes", "landmark_error", "lip_error",
        "lid_error", "flicker",
    }  # fmt: skip
    for method in ("still", "coarse", "generator"):
        assert required <= mean[method].keys()
        assert all(isinstance(mean[method][key], float) for key in required)
    # The face moves, so whoever moves the portrait must be nearer in and around the face.
    for method in ("coarse", "generator"):
        assert mean[method]["landmark_error"] < 0.5 * mean["still"]["landmark_error"]
        assert mean[method]["psnr_eyes"] > mean["still"]["psnr_eyes"] + 1
    frames = result["clips"]["moving"]["frames"]
    assert len(frames) == 3
    for index in frames:
        for name in ("truth", "generator", "coarse", "still"):
            dumped = cv2.imread(str(tmp_path / "dump" / "moving" / f"{index:05d}_{name}.png"))
            assert dumped.shape == (128, 128, 3)
    sheet = cv2.imread(str(out.with_suffix(".png")))
    assert sheet.shape[0] == 22 + 2 * 256


def test_clips_of_one_name_stay_apart(tmp_path: Path) -> None:
    for name in ("take.mp4", "take.mov", "anna/take.mp4", "alone [1].mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_clips(tmp_path)) == ["alone [1]", "anna__take", "take.mov", "take.mp4"]


def test_no_method_is_spared_the_frames_it_loses_the_face_in(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "cache"))
    find = FaceReader.read
    asked = 0

    def read(self: FaceReader, rgb: Rgb, near: Landmarks | None = None) -> Landmarks | None:
        nonlocal asked
        asked += 1  # in turn: truth, still, coarse
        return None if asked == 3 else find(self, rgb, near)

    monkeypatch.setattr(FaceReader, "read", read)
    out = tmp_path / "result.json"
    arguments = ["--clips", str(clips), "--json", str(out), "--size", "96", "--frames", "1"]
    assert main([*arguments, "--tier", "coarse"]) == 0
    clip = json.loads(out.read_text())["clips"]["moving"]
    assert clip["faces_lost"] == {"still": 0, "coarse": 1}
    assert clip["still"]["landmark_error"] is clip["coarse"]["landmark_error"] is None


def test_without_weights_two_methods_remain(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "result.json"
    arguments = ["--clips", str(clips), "--json", str(out), "--size", "96", "--frames", "1"]
    assert main([*arguments, "--tier", "coarse", "--perceptual", str(tmp_path / "absent")]) == 0
    result = json.loads(out.read_text())
    assert result["mean"]["generator"] is None
    assert result["mean"]["coarse"]["perceptual"] is None
    assert len(result["notes"]) == 2
    assert main(["--clips", str(tmp_path), "--json", str(out)]) == 2
    assert "holds no clips" in " ".join(capsys.readouterr().err.split())


def test_broken_weights_are_an_error_and_not_a_missing_column(clips: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x00" * 64)
    for runtime in ("auto", "torch"):
        arguments = ["--clips", str(clips), "--json", str(tmp_path / "x.json")]
        assert main([*arguments, "--weights", str(broken), "--runtime", runtime]) == 2


def test_landmarks_of_a_clip_are_in_the_square() -> None:
    inside = CropBox(100.0, 50.0, 256.0).to_crop(face())
    assert isinstance(inside, Landmarks)
    np.testing.assert_allclose(inside.points[0, 0], (face().points[0, 0] - 100) * 2, rtol=1e-5)


def test_eyes_that_go_half_as_far_follow_with_half_the_reach() -> None:
    glances = np.linspace(-0.06, 0.06, 9)
    driver, result = ([expression(face(look=(x * k, 0))).gaze for x in glances] for k in (1, 0.5))
    assert np.ptp(driver) > 0.1
    numbers = _following("gaze", np.column_stack((driver, result)))
    assert numbers["gaze_following"] == pytest.approx(1, abs=1e-3)
    assert numbers["gaze_reach"] == pytest.approx(0.5, abs=0.02)
    unmoved = np.column_stack((driver, np.zeros(9)))
    assert _following("gaze", unmoved) == {"gaze_following": 0.0, "gaze_reach": 0.0}
