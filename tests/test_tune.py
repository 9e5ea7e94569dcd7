"""Few-shot tuning: helps on pictures it never saw, keeps the best, and ends in a usable bundle."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from calibrate import command
from calibrate.cuts import SIZE, Clip
from calibrate.pictures import gather, most_different
from calibrate.shots import to_hold_out
from calibrate.tune import Progress, Tuned, TuneSettings, _Tuner, tune
from engines.contract import SpecMismatch
from engines.models import load_model_of
from engines.network import Network
from engines.runtimes import open_generator
from engines.weights import read_weights
from puppet.avatar.bundle import Avatar, load_avatar, save_avatar
from puppet.avatar.consent import Consent
from puppet.avatar.create import create_avatar
from puppet.avatar.tensors import portrait_tensors
from puppet.avatar.tuned import TENSORS, WEIGHTS, save_tuning, tuned_tensors, tuned_weights
from puppet.contract import BundleError, UserError
from puppet.draw import LandmarkPainter
from puppet.landmarks import LEFT_LID_PAIRS, LIP_PAIRS, RIGHT_LID_PAIRS, mean_face

torch.set_num_threads(1)
QUICK = TuneSettings(steps=6, minutes=5, batch=2, judge_every=2, threads=1, bf16=False)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    made = Network("small").eval()
    with torch.no_grad():  # branches that start switched off: there is something to mend
        made.generator.motion.decide.weight.normal_(std=0.05)
        made.generator.synthesis.paint.weight.normal_(std=0.05)
        made.generator.synthesis.paint.bias.zero_()
    return made


def person(count: int) -> Clip:
    """A drawn face that moves sideways; the room behind it stays and the skin has a pattern."""
    rng = np.random.default_rng(0)
    room = cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (SIZE, SIZE))
    frames, mattes, landmarks = [], [], []
    for i in range(count):
        points = mean_face() * np.float32(90)
        points[:, :2] += np.array((SIZE / 2 + 25 * np.sin(1.7 * i), SIZE * 0.45), np.float32)
        rgb, matte = room.copy(), np.zeros((SIZE, SIZE), np.uint8)
        centre = (int(points[1, 0]), int(points[1, 1]))
        for picture, colour in ((rgb, (200, 150, 120)), (matte, 255)):
            cv2.ellipse(picture, centre, (75, 100), 0, 0, 360, colour, -1)
        for x, y in points[::9, :2].astype(int):
            cv2.circle(rgb, (int(x), int(y)), 3, (90, 60, 40), -1)
        frames.append(rgb)
        mattes.append(matte)
        landmarks.append(points)
    return Clip("p", "p", np.stack(frames), np.stack(mattes), np.stack(landmarks), np.arange(count))


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    from skimage import data

    folder = tmp_path_factory.mktemp("avatars")
    photo = folder / "astronaut.png"
    cv2.imwrite(str(photo), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    made = create_avatar(
        photo, "astronaut", Consent("public-domain"), folder=folder / "astronaut.avatar"
    )
    save_avatar(made)
    return load_avatar(made.folder)


@pytest.fixture(scope="module")
def tuned(network: Network, avatar: Avatar) -> Tuned:
    settings = TuneSettings(steps=2, minutes=5, batch=1, judge_every=1, threads=1, bf16=False)
    return tune(network, gather(avatar, []), settings)


@pytest.mark.slow
def test_several_pictures_help_on_those_held_out(network: Network) -> None:
    settings = TuneSettings(
        steps=16, minutes=5, batch=2, judge_every=4, rate=2e-3, average=0.5, threads=1
    )
    result = tune(network, person(6), settings)
    assert result.best < 0.7 * result.start


def test_the_base_network_is_left_alone(network: Network) -> None:
    before = {k: v.clone() for k, v in network.state_dict().items()}
    result = tune(network, person(1), QUICK)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert result.best <= result.start
    assert result.steps == QUICK.steps


def test_what_only_harms_is_not_kept(network: Network) -> None:
    wild = TuneSettings(
        steps=4, minutes=5, batch=1, judge_every=2, rate=3.0, tensor_rate=50.0, threads=1,
        bf16=False, roaming_share=0.0,
    )  # fmt: skip
    heard: list[Progress] = []
    result = tune(network, person(5), wild, tell=heard.append)
    assert heard[-1].score > heard[-1].start
    assert result.best == result.start
    for name, values in network.state_dict().items():
        assert torch.equal(result.network.state_dict()[name], values), name


def test_the_first_step_is_a_small_one(network: Network) -> None:
    settings = TuneSettings(steps=100, batch=1, rate=1e-2, threads=1, bf16=False)
    tuner = _Tuner(network, person(5), settings, None)
    tuner.run(None, lambda: True)
    moved = max(
        float((now.detach() - before).abs().max())
        for now, before in zip(tuner.network.parameters(), tuner.base, strict=True)
    )
    assert 0 < moved < 1.2e-3, "a tenth of the rate"


def test_open_mouth_and_closed_eyes_are_learned_from() -> None:
    pictures = person(9)
    before = to_hold_out(pictures)
    assert len(before) == 1
    landmarks = pictures.landmarks.copy()
    for index in range(1, 9):  # none but these two is left to be held out
        if index not in (2, before[0]):
            landmarks[index] = np.nan
    usable = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
    for lower, upper in LIP_PAIRS:
        landmarks[2, lower, 1] += 20
        landmarks[2, upper, 1] -= 20
    for lower, upper in (*LEFT_LID_PAIRS, *RIGHT_LID_PAIRS):
        landmarks[2, lower, 1] = landmarks[2, upper, 1]
    assert to_hold_out(replace(pictures, landmarks=landmarks, usable=usable)) == before


def test_stops_when_asked_and_keeps_the_best(network: Network) -> None:
    heard: list[Progress] = []
    result = tune(network, person(5), QUICK, tell=heard.append, stop=lambda: True)
    assert result.steps == 1
    assert len(heard) == 1
    assert result.best == min(heard[0].score, heard[0].start)


def test_control_c_keeps_the_best(network: Network) -> None:
    def interrupt(now: Progress) -> None:
        threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    long = TuneSettings(steps=10**6, minutes=60, batch=1, judge_every=1, threads=1, bf16=False)
    # A test run in the background starts with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = tune(network, person(1), long, tell=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 1 <= result.steps < 50


def test_progress_is_told_with_a_picture(network: Network) -> None:
    heard: list[Progress] = []
    tune(network, person(5), QUICK, tell=heard.append)
    assert [now.step for now in heard] == [2, 4, 6]
    assert heard[-1].share == 1
    assert heard[0].sheet.shape[1:] == (4 * SIZE, 3)
    bests = [now.best for now in heard]
    assert bests == sorted(bests, reverse=True)


def test_no_face_is_refused(network: Network) -> None:
    clip = person(1)
    empty = Clip("p", "p", clip.frames, clip.mattes, clip.landmarks, np.zeros(0, np.intp))
    with pytest.raises(ValueError, match="no picture with a face"):
        tune(network, empty, QUICK)


def test_most_different_takes_the_open_mouth() -> None:
    rng = np.random.default_rng(0)
    faces = [mean_face() * 100 + rng.normal(0, 0.1, (478, 3)).astype(np.float32) for _ in range(30)]
    faces[17] = faces[17].copy()
    faces[17][[14, 17, 87, 317, 152], 1] += 30
    chosen = most_different(faces, 4)
    assert 17 in chosen
    assert len(set(chosen)) == 4
    assert most_different(faces[:3], 4) == [0, 1, 2]


def test_gathers_photos_in_the_portraits_framing(avatar: Avatar, tmp_path: Path) -> None:
    from skimage import data

    photo = np.clip(data.astronaut()[:400] * 0.7, 0, 255).astype(np.uint8)[:, ::-1]
    cv2.imwrite(str(tmp_path / "darker.png"), photo[..., ::-1])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 90, np.uint8))
    told: list[str] = []
    clip = gather(avatar, [tmp_path], tell=told.append)
    assert len(clip.usable) == 2
    assert clip.frames.shape[1:] == (512, 512, 3)
    assert sum("left out" in line for line in told) == 2
    # In place and in the portrait's light.
    oval = clip.landmarks[:, [10, 152, 234, 454], :2].mean(1)
    assert np.linalg.norm(oval[0] - oval[1]) < 25
    faces = [f[200:300, 200:300].mean() for f in clip.frames]
    assert abs(faces[0] - faces[1]) < 25
    with pytest.raises(UserError, match="None of the pictures"):
        gather(avatar, [tmp_path / "wall.png"])
    with pytest.raises(UserError, match="no picture, folder or video"):
        gather(avatar, [tmp_path / "nowhere"])


def test_one_picture_promises_nothing(tuned: Tuned) -> None:
    steps = f"after {tuned.steps} steps"
    several, one = command.outcome(tuned, 8), command.outcome(tuned, 1)
    assert steps in several
    assert "held out" in several
    assert steps in one
    assert "made-up" in one
    assert "--pictures" in one


def test_a_tuned_bundle_runs(avatar: Avatar, tuned: Tuned) -> None:
    command.save_tuned(avatar, tuned)
    path = tuned_weights(avatar)
    assert path is not None
    weights = read_weights(path)
    usual = load_model_of("small").ranges
    assert weights.ranges.keys() == usual.keys() == tuned.ranges.keys()
    assert all((weights.ranges[n][1] >= 0.999 * usual[n][1]).all() for n in usual)
    generator = open_generator(weights=path, runtime="onnxruntime")
    try:
        assert generator.spec.weights_sha256 == weights.sha256
        own = tuned_tensors(avatar, weights.sha256)
        assert own is not None
        assert np.array_equal(own["detail"], tuned.detail)
        tensors = portrait_tensors(avatar, generator.spec)
        assert np.array_equal(tensors["features"], tuned.features)
        generator.set_portrait(tensors)
        picture = generator.generate(LandmarkPainter(avatar.landmarks).paint(avatar.landmarks))
    finally:
        generator.close()
    inside = avatar.matte > 250
    difference = np.abs(picture[..., :3].astype(int) - avatar.portrait)[inside].mean()
    assert difference < 60  # an untrained network: it runs, and shows the person
    load_avatar(avatar.folder)  # still sound


def test_tensors_of_other_weights_are_not_used(avatar: Avatar, tuned: Tuned) -> None:
    command.save_tuned(avatar, tuned)
    assert tuned_tensors(avatar, "0" * 64) is None


def test_damaged_tensors_are_refused(avatar: Avatar, tuned: Tuned) -> None:
    command.save_tuned(avatar, tuned)
    sha256 = read_weights(avatar.folder / WEIGHTS).sha256
    path = avatar.folder / TENSORS
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="puppet calibrate astronaut"):
        tuned_tensors(avatar, sha256)
    with pytest.raises(ValueError, match="not finite"):
        save_tuning(
            avatar, weights=b"", graph=b"", tensors=tuned.portrait | {"code": tuned.code * np.nan}
        )
    path.unlink()
    assert tuned_tensors(avatar, sha256) is None


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "w.safetensors"
    broken.write_bytes(b"\x00" * 40)
    with pytest.raises(SpecMismatch):
        command.load_network("small", broken)
    with pytest.raises(UserError, match="choose small or base"):
        command.load_network("coarse", None)
