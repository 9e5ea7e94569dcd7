"""Base training: learns, resumes exactly, spreads over processes, mirrors, keeps checkpoints."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from calibrate import train
from calibrate.batch import to_device
from calibrate.combine import SeveralSources, combine
from calibrate.cuts import (
    SIZE,
    Cut,
    cut,
    face_shape,
    imagined_motion,
    letterbox,
    mirror_points,
    random_cut,
    warp_picture,
)
from calibrate.data import WINDOW, PairDataset, as_sample, open_cache, window_around
from calibrate.expression import imagined_expression
from calibrate.losses import windows
from calibrate.precision import bf16_is_quicker
from calibrate.recipe import Recipe, learning_rate
from engines.network import Network
from engines.weights import write_weights
from puppet.draw import DRAW_STYLE, coarse_motion, picture_coordinates
from puppet.landmarks import LEFT_LID_PAIRS, LIPS_INNER, RIGHT_LID_PAIRS, mean_face
from puppet.track import find_faces

torch.set_num_threads(1)
BF16 = bf16_is_quicker(torch.device("cpu"))
"""Where a processor emulates it, a step takes ten times as long."""


@pytest.fixture(scope="session")
def astronaut() -> Cut:
    """A real face (NASA, public domain) as a training cut."""
    from skimage import data

    rgb = np.ascontiguousarray(data.astronaut()[:300, 80:380])
    face = find_faces(rgb)[0]
    small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    points = picture_coordinates(face)
    matte = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(matte, (120, 130), (75, 100), 0, 0, 360, 255, -1)
    cv2.rectangle(matte, (30, 190), (240, 256), 255, -1)
    return Cut(np.asarray(small, np.uint8), matte, points)


@pytest.fixture(scope="session")
def cache(astronaut: Cut, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cached clip of the astronaut, moved synthetically."""
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    room = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    room = cv2.resize(room, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    frames, mattes, landmarks = [], [], []
    for i in range(6):
        points = astronaut.points
        if i:
            points = imagined_motion(points, imagined_expression(rng), rng)
            points += np.array((0.2 * np.cos(i), 0.1 * np.sin(i), 0), np.float32)
        moved = warp_picture(
            np.dstack((astronaut.rgb, astronaut.matte)), coarse_motion(points, astronaut.points)
        )
        # What no warp knows: the room stands still (and no matte tells it from the person), and
        # the open mouth is white inside.
        alpha = moved[..., 3:].astype(np.float32) / 255
        rgb = np.round(moved[..., :3] * alpha + room * (1 - alpha)).astype(np.uint8)
        mouth = np.round((points[list(LIPS_INNER), :2] + 1) * (SIZE / 2)).astype(np.int32)
        cv2.fillPoly(rgb, [mouth], (250, 250, 250))
        frames.append(rgb)
        mattes.append(np.full_like(moved[..., 3], 255))
        pixels = (points + np.array((1, 1, 0), np.float32)) * (SIZE / 2)
        landmarks.append(pixels.astype(np.float32))
    clip = folder / "astronaut"
    clip.mkdir()
    np.save(clip / "frames.npy", np.stack(frames))
    np.save(clip / "mattes.npy", np.stack(mattes))
    np.save(clip / "landmarks.npy", np.stack(landmarks))
    (clip / "meta.json").write_text(json.dumps({"person": "a"}))
    return folder


def arguments(cache: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--cache", str(cache), "--out", str(out), "--batch", "2", "--workers", "0"),
        *("--quiet", "--log-every", "1", "--warmup", "1", "--steps", "1000", *more),
    ]


def state_of(out: Path) -> dict[str, torch.Tensor]:
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    parts = {f"network.{k}": v for k, v in state["network"].items()}
    parts |= {f"judge.{k}": v for k, v in state["judge"].items()}
    return parts | {f"averaged.{k}": v for k, v in state["averaged"].items()}


@pytest.mark.slow
@pytest.mark.timeout(900)  # two threads wait for each other where the machine is not theirs
def test_overfits_one_clip(cache: Path) -> None:
    clip = open_cache(cache)[0]
    whole = np.array(((1, 0, 0), (0, 1, 0)), np.float32)
    cuts = [cut(clip, i, whole, False) for i in range(3)]
    pairs = [as_sample(cuts[0], other) for other in cuts[1:]]
    batch = to_device(torch.utils.data.default_collate(pairs), torch.device("cpu"))
    torch.manual_seed(1)
    run = train.Run(Recipe(rate=2e-3, warmup=1), torch.device("cpu"), perceptual=None)
    mixed = torch.autocast("cpu", torch.bfloat16) if BF16 else nullcontext()
    # Untrained, the network is the coarse warp and a faint mask: that is what it must leave behind.
    losses: list[float] = []
    torch.set_num_threads(2)  # the longest of the tests
    while len(losses) < 60 and (not losses or losses[-1] >= 0.75 * losses[0]):
        *_, terms = run.learn(batch, mixed)
        losses.append(float(terms["l1"].detach()))
    torch.set_num_threads(1)
    assert losses[-1] < 0.75 * losses[0], losses


@pytest.mark.slow
def test_resumes_bit_for_bit(cache: Path, tmp_path: Path) -> None:
    # Which precision is quicker is measured: two runs on a busy machine may find differently.
    more = ("--adversarial-from", "1", "--sources", "2", "--bf16" if BF16 else "--no-bf16")
    more += ("--whole-every", "2")
    train.main(arguments(cache, tmp_path / "whole", "--max-steps", "4", *more))
    train.main(arguments(cache, tmp_path / "parts", "--max-steps", "2", *more))
    # Another process goes on: nothing may depend on what the first one still had in memory.
    run_training(arguments(cache, tmp_path / "parts", "--max-steps", "2", *more))
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        assert torch.equal(values, parts[name]), name
    rows = [(tmp_path / f / "log.csv").read_text() for f in ("whole", "parts")]
    assert rows[0] == rows[1]


def run_training(given: list[str], processes: int = 1) -> None:
    command = [sys.executable, "-m", "calibrate.train", *given]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
        command = [sys.executable, *launcher, str(processes), "-m", "calibrate.train", *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_train_like_one(cache: Path, tmp_path: Path) -> None:
    more = ("--max-steps", "3", "--no-bf16", "--adversarial-from", "1", "--rate", "1e-4")
    train.main(arguments(cache, tmp_path / "one", *more))
    run_training(arguments(cache, tmp_path / "two", *more), processes=2)
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    torch.manual_seed(Recipe().seed)
    start = Network("small").state_dict()
    apart = moved = 0.0
    for name, origin in start.items():
        apart += float((one[f"network.{name}"] - two[f"network.{name}"]).abs().sum())
        moved += float((one[f"network.{name}"] - origin).abs().sum())
    # Adam turns the sign of a gradient near zero into a whole step: a few weights may differ.
    assert apart < 0.02 * moved


def test_log_names_every_term(cache: Path, tmp_path: Path) -> None:
    train.main(arguments(cache, tmp_path, "--max-steps", "1", "--adversarial-from", "0"))
    with (tmp_path / "log.csv").open() as file:
        terms = {row[1] for row in csv.reader(file)}
    assert terms >= {"l1", "edges", "alpha", "painted", "mask", "adversarial", "matching", "judge"}
    assert cv2.imread(str(tmp_path / "preview.png")) is not None


def test_checkpoint_survives_a_full_disk(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.main(arguments(cache, tmp_path, "--max-steps", "1"))
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(state: object, path: Path) -> None:
        path.write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        train.main(arguments(cache, tmp_path, "--max-steps", "1"))
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train.main(arguments(cache, tmp_path, "--max-steps", "1"))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2


def test_a_checkpoint_of_another_drawing_is_refused(cache: Path, tmp_path: Path) -> None:
    train.main(arguments(cache, tmp_path, "--max-steps", "1"))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(state | {"draw_style": "other/9"}, tmp_path / "checkpoint.pt")
    with pytest.raises(SystemExit, match="other/9"):
        train.main(arguments(cache, tmp_path, "--max-steps", "1"))


def test_a_checkpoint_of_another_version_is_refused(cache: Path, tmp_path: Path) -> None:
    train.main(arguments(cache, tmp_path, "--max-steps", "1"))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save({k: v for k, v in state.items() if k != "muon"}, tmp_path / "checkpoint.pt")
    with pytest.raises(SystemExit, match=r"no muon.*--start-from"):
        train.main(arguments(cache, tmp_path, "--max-steps", "1"))


@pytest.mark.parametrize(
    ("tier", "style", "message"),
    [("small", "other/9", "train again"), ("base", DRAW_STYLE, "this run is for 'small'")],
)
def test_weights_of_another_drawing_or_tier_are_no_start(
    cache: Path, tmp_path: Path, tier: str, style: str, message: str
) -> None:
    tensors = {k: v.numpy() for k, v in Network(tier).state_dict().items()}
    write_weights(tmp_path / "w.safetensors", tensors, tier=tier, draw_style=style)
    more = ("--start-from", str(tmp_path / "w.safetensors"), "--max-steps", "1")
    with pytest.raises(SystemExit, match=message):
        train.main(arguments(cache, tmp_path / "run", *more))


def test_every_no_step_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--whole-every 0"):
        train.main(arguments(cache, tmp_path, "--whole-every", "0"))


def test_time_limit_ends_training(cache: Path, tmp_path: Path) -> None:
    train.main(arguments(cache, tmp_path, "--minutes", "0"))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1


def test_learning_rate_comes_down_with_the_steps_or_with_the_time() -> None:
    recipe = Recipe(rate=1.0, warmup=10, steps=1010)
    assert learning_rate(recipe, 4) == 0.5
    assert learning_rate(recipe, 10) == pytest.approx(1)
    assert learning_rate(recipe, 1010) == pytest.approx(0.05)
    assert learning_rate(recipe, 20, spent=1.0) == pytest.approx(0.05)
    assert learning_rate(recipe, 20, spent=0.5) == pytest.approx(0.525)


def test_mirroring_twice_is_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32)
    assert np.array_equal(mirror_points(mirror_points(points)), points)


def test_mirrored_landmarks_are_those_of_the_mirrored_picture() -> None:
    from skimage import data

    rgb = np.ascontiguousarray(data.astronaut()[:300, 80:380])
    straight = picture_coordinates(find_faces(rgb)[0])
    mirrored = picture_coordinates(find_faces(np.ascontiguousarray(rgb[:, ::-1]))[0])
    error = np.linalg.norm((mirror_points(straight) - mirrored)[:, :2], axis=1) * 150
    assert np.median(error) < 2
    assert error.max() < 8
    # Without relabelling, left and right are exchanged: an error of the face's width.
    unlabelled = np.linalg.norm((straight * (-1, 1, 1) - mirrored)[:, :2], axis=1) * 150
    assert unlabelled.max() > 50


def test_samples_depend_on_seed_and_index_only(cache: Path) -> None:
    clips = open_cache(cache)
    one = PairDataset(clips, clips, length=50, seed=3, stills_share=0.5, sources=3)
    two = PairDataset(clips, clips, length=50, seed=3, stills_share=0.5, sources=3)
    for index in (7, 3, 7):
        a, b = one[index], two[index]
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(one[1]["target"], one[2]["target"])


def test_a_bar_along_the_edge_is_the_same_in_all_pictures(astronaut: Cut) -> None:
    other = Cut(astronaut.rgb[::-1].copy(), astronaut.matte, astronaut.points)
    for seed in range(8):
        one, two = letterbox([astronaut, other], np.random.default_rng(seed))
        bar = (one.rgb != astronaut.rgb).any(2) | (two.rgb != other.rgb).any(2)
        assert 0.01 < bar.mean() < 0.25
        assert (one.rgb[bar] == two.rgb[bar]).all()
        assert len(np.unique(one.rgb[bar], axis=0)) == 1
        assert not bar[28:-28, 28:-28].any()
        assert np.array_equal(one.matte[~bar], astronaut.matte[~bar])


def test_samples_for_one_person_are_not_varied(cache: Path) -> None:
    """All mattes of this cache are full: only a bar can leave a hole."""

    def holes(varied: bool) -> int:
        pairs = PairDataset(open_cache(cache), [], length=60, seed=1, stills_share=0, varied=varied)
        return sum(int((pairs[i]["target_matte"] < 255).any()) for i in range(60))

    assert holes(varied=False) == 0
    assert holes(varied=True) > 0


def test_a_face_at_rest_is_the_portrait_itself(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = PairDataset(open_cache(cache), [], length=20, seed=3, stills_share=0, varied=False)

    def alike() -> int:
        return sum(
            np.array_equal(p["portrait"], p["target"]) for p in map(pairs.__getitem__, range(20))
        )

    monkeypatch.setattr("calibrate.data._AT_REST", 1.0)  # never: only by chance, of six frames
    assert alike() < 15
    monkeypatch.setattr("calibrate.data._AT_REST", -1.0)  # always
    assert alike() == 20


def test_cuts_stay_inside_the_picture() -> None:
    rng = np.random.default_rng(0)
    corners = np.array(((0, 0), (SIZE, 0), (0, SIZE), (SIZE, SIZE)))
    turned = 0
    for _ in range(300):
        points = (mean_face() * 60 + (*rng.uniform(120, 300, 2), 0)).astype(np.float32)
        matrix, _ = random_cut(points, (400, 480), rng)
        back = cv2.invertAffineTransform(matrix)
        turned += abs(back[0, 1]) > 0.01
        reached = corners @ back[:, :2].T + back[:, 2]
        assert (reached > -0.01).all()
        assert (reached < (480.01, 400.01)).all()
    assert turned > 50


def test_what_is_judged_closely_holds_eyes_and_mouth(astronaut: Cut) -> None:
    row, column = as_sample(astronaut, astronaut)["window"]
    points = (astronaut.points[[33, 263, 61, 291], :2] + 1) * (SIZE / 2) - (column, row)
    assert (points > 0).all()
    assert (points < WINDOW).all()
    assert (window_around(np.array((5.0, -5.0), np.float32)) == (0, SIZE - WINDOW)).all()


def test_windows_are_cut_where_they_are_said_to_be() -> None:
    pictures = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).float()
    found = windows(pictures, torch.tensor(((1, 2), (4, 0))), 4)
    assert torch.equal(found[0], pictures[0, :, 1:5, 2:6])
    assert torch.equal(found[1], pictures[1, :, 4:8, 0:4])


def test_one_source_is_the_plain_network(cache: Path) -> None:
    torch.manual_seed(0)
    network = Network("small").eval()
    clips = open_cache(cache)
    several = PairDataset(clips, [], length=9, seed=1, stills_share=0, sources=4)
    raw = torch.utils.data.default_collate([several[i] for i in range(2)])
    batch = to_device(raw, torch.device("cpu"))
    given = [batch[k] for k in ("portrait", "portrait_contours", "contours", "motion")]
    with torch.no_grad():
        alone = network(*given)
        nothing = torch.zeros_like(batch["extra_weight"])
        same = SeveralSources(network)(*given, batch["extra"], nothing)
    assert torch.allclose(alone.rgb, same.rgb, atol=1e-6)


def test_combining_a_picture_with_itself_changes_nothing(astronaut: Cut) -> None:
    torch.manual_seed(0)
    network = Network("small").eval()
    one, three = combine(network, [astronaut]), combine(network, [astronaut] * 3)
    for a, b in zip(one, three, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_combining_listens_to_what_fits(astronaut: Cut) -> None:
    torch.manual_seed(0)
    network = Network("small").eval()
    noise = np.random.default_rng(0).integers(0, 256, astronaut.rgb.shape).astype(np.uint8)
    brighter = np.clip(astronaut.rgb.astype(np.int16) + 8, 0, 255).astype(np.uint8)
    alone = combine(network, [astronaut]).detail

    def change(rgb: np.ndarray) -> float:
        other = Cut(rgb, astronaut.matte, astronaut.points)
        own = combine(network, [other]).detail
        mixed = combine(network, [astronaut, other]).detail
        return float((mixed - alone).norm() / (own - alone).norm())

    assert change(brighter) > 2 * change(noise)


def test_imagined_expressions_open_mouths_and_close_eyes() -> None:
    rng = np.random.default_rng(0)
    face = mean_face()
    mouths, lids = [], []
    for _ in range(200):
        moved = face + imagined_expression(rng)
        mouths.append(moved[LIPS_INNER[5], 1] - moved[LIPS_INNER[15], 1])
        lower, upper = RIGHT_LID_PAIRS[3]
        lids.append(moved[lower, 1] - moved[upper, 1])
    lower, upper = LEFT_LID_PAIRS[3]
    opening = face[lower, 1] - face[upper, 1]
    assert max(mouths) > 0.15
    assert min(lids) < 0.2 * opening
    assert abs(float(np.median(lids)) - opening) < 0.4 * opening


def test_face_shape_ignores_place_size_and_turn() -> None:
    rng = np.random.default_rng(1)
    turn = cv2.Rodrigues(np.array((0.2, -0.3, 0.1)))[0].astype(np.float32)
    face = mean_face() + imagined_expression(rng)
    placed = (face @ turn.T * 80 + np.array((200, 100, 0))).astype(np.float32)
    assert np.allclose(face_shape(face), face_shape(placed), atol=1e-3)
