"""A generator on another machine: the real Triton Inference Server, bad links, hostile answers."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.build import CLASSIC, RTX, engine_key, engine_targets, load_module
from engines.cache import EngineCache
from engines.coarse import coarse_portrait
from engines.contract import (
    EngineFailed,
    LandmarkImage,
    RuntimeUnavailable,
    SpecMismatch,
)
from engines.encode import encode_portrait
from engines.kserve import CallFailed, KServeClient
from engines.models import CoarseModel, Model, WeightsModel
from engines.parity import Tolerance, compare, reference_images, reference_portrait_arrays
from engines.remote import RemoteWithLocal, open_remote
from engines.remote_server import ENGINES, MAX_PORTRAITS, PortraitServer, PortraitUnknown
from engines.repository import bake_portrait, export_repository
from engines.runtime_onnxruntime import OnnxRuntimeGenerator
from engines.runtime_remote import RemoteGenerator, served_name
from engines.weights import read_weights, write_weights
from engines.wire import (
    WireError,
    pack_frame,
    pack_picture,
    pack_portrait,
    portrait_key,
    unpack_frame,
    unpack_picture,
    unpack_portrait,
)
from puppet.cli.main import main
from puppet.cli.options import look_of
from puppet.contract import UserError
from puppet.pipeline.events import Events
from puppet.pipeline.generator import EngineSettings, GeneratorKeeper
from tests.engine_models import random_weights
from tests.links import Impostor, Link, answer, bytes_answer
from tests.triton import Triton, find_triton

pytest.importorskip("grpc", reason='pip install "webcam-puppet[remote]"')

PATIENT_S = 20.0
"""A deadline that a busy test machine holds."""
OF_NOISE = Tolerance(mean=4.0, p999=40, greatest=255)
"""Untrained networks paint noise, which JPEG keeps least well."""

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Case:
    """A model, its weights as a file, and a portrait's tensors."""

    model: Model
    weights: bytes | None
    portrait: Tensors

    def local(self) -> OnnxRuntimeGenerator:
        generator = OnnxRuntimeGenerator(self.model.generator())
        generator.set_portrait(self.portrait)
        return generator


def make_case(folder: Path, seed: int | None) -> Case:
    rgb, matte, contours = reference_portrait_arrays()
    if seed is None:
        return Case(CoarseModel(), None, coarse_portrait(rgb, matte))
    made = random_weights("small", seed)
    path = folder / f"{seed}.safetensors"
    write_weights(path, made.tensors, tier="small", draw_style=made.draw_style)
    model = WeightsModel(read_weights(path))
    return Case(model, path.read_bytes(), encode_portrait(rgb, matte, contours, model=model))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("weights")
    return {
        "coarse": make_case(folder, None),
        "small": make_case(folder, 0),
        "plain": make_case(folder, 1),
    }


@pytest.fixture(scope="module")
def triton(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """Serves 'coarse' and 'small' packed, and 'plain' as a graph with its portrait only."""
    program, work = find_triton(), tmp_path_factory.mktemp("triton")
    repository = work / "repository"
    for case in (cases["coarse"], cases["small"]):
        export_repository(repository, case.model, weights=case.weights, targets=())
    plain = cases["plain"]
    packed, _ = export_repository(
        repository,
        plain.model,
        weights=plain.weights,
        portrait=plain.portrait,
        body="f32",
        targets=(),
    )
    shutil.rmtree(packed)
    server = Triton(program, repository, work)
    yield server
    server.stop()


@pytest.fixture
def link(triton: Triton) -> Iterator[Link]:
    made = Link(triton.port)
    yield made
    made.close()


def moving(index: int) -> LandmarkImage:
    images = reference_images()
    return images[index % len(images)]


# --- how things travel


def test_frames_travel_small_and_nearly_exact() -> None:
    for image in reference_images():
        packed = pack_frame(image, ("contours", "motion"))
        assert sum(data.size for data in packed.values()) < 24_000
        there = unpack_frame(packed)
        np.testing.assert_array_equal(there.contours, image.contours)
        assert np.abs(there.motion - image.motion).max() * 256 <= 1 / 64
    assert pack_frame(reference_images()[0], ("motion",)).keys() == {"motion"}


def test_motion_beyond_the_picture_is_held_at_its_edge() -> None:
    image = reference_images()[0]
    wild = LandmarkImage(image.contours, np.full_like(image.motion, 7.0))
    wild.motion[::2] = -7.0
    there = unpack_frame(pack_frame(wild, ("motion",))).motion
    np.testing.assert_allclose(np.abs(there), 2.0, atol=1e-3)


def test_pictures_travel_with_an_exact_matte(cases: dict[str, Case]) -> None:
    picture = cases["coarse"].local().generate(moving(1))
    packed = pack_picture(picture)
    assert packed.size < picture.size / 12
    there = np.zeros_like(picture)
    unpack_picture(packed, there)
    np.testing.assert_array_equal(there[:, :, 3], picture[:, :, 3])
    assert compare(there, picture).mean < 1.0


def test_bytes_that_are_no_picture_are_refused_and_change_nothing(cases: dict[str, Case]) -> None:
    good = pack_picture(cases["coarse"].local().generate(moving(0))).tobytes()
    length = int.from_bytes(good[4:8], "little")
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    frame = good.index(b"\xff\xc0")
    huge = good[: frame + 5] + b"\xff\xff\xff\xff" + good[frame + 9 :]
    noise = np.random.default_rng(3).bytes(5000)
    broken = [
        *(b"", good[:7], good[:4000], good[: 8 + length], b"JPEG" + good[4:], noise),
        good[: 8 + length] + bomb,
        good[: 8 + length] + zlib.compress(b"short"),
        huge,
        good[:8] + noise[:length] + good[8 + length :],
    ]
    for data in broken:
        into = np.full((512, 512, 4), 7, np.uint8)
        with pytest.raises(WireError):
            unpack_picture(np.frombuffer(data, np.uint8), into)
        assert (into == 7).all()


def test_a_portrait_is_what_its_key_says(cases: dict[str, Case]) -> None:
    portrait = cases["small"].portrait
    packed, key = pack_portrait(portrait), portrait_key(portrait)
    there = unpack_portrait(packed, key)
    assert {n: t.tobytes() for n, t in there.items()} == {
        n: t.tobytes() for n, t in portrait.items()
    }
    with pytest.raises(WireError, match="announced"):
        unpack_portrait(packed, "0" * 64)
    with pytest.raises(WireError, match="safetensors"):
        unpack_portrait(packed[:-9], key)


# --- the far side


def key_of(portrait: Tensors) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(portrait_key(portrait)), np.uint8)


def test_the_far_side_keeps_portraits_and_survives_bad_requests(cases: dict[str, Case]) -> None:
    case = cases["coarse"]
    server = PortraitServer(OnnxRuntimeGenerator(case.model.generator()))
    frame, key = pack_frame(moving(1), ("motion",)), key_of(case.portrait)
    with pytest.raises(PortraitUnknown):
        server.answer({"portrait_key": key, **frame})
    packed = pack_portrait(case.portrait)
    with pytest.raises(WireError):
        server.answer({"portrait_key": np.zeros(32, np.uint8), "portrait": packed, **frame})
    with pytest.raises(WireError):
        server.answer({"portrait_key": key[:8], "portrait": packed, **frame})
    other = cases["small"].portrait
    with pytest.raises(SpecMismatch):
        server.answer({"portrait_key": key_of(other), "portrait": pack_portrait(other), **frame})
    first = server.answer({"portrait_key": key, "portrait": packed, **frame})
    bomb = np.frombuffer(zlib.compress(bytes(2**26)), np.uint8)
    for bad in (bomb, packed[:50], np.zeros(0, np.uint8)):
        with pytest.raises(WireError):
            server.answer({"portrait_key": key, "motion": bad})
    again = server.answer({"portrait_key": key, **frame})
    np.testing.assert_array_equal(again["picture"], first["picture"])
    assert json.loads(again["info"].tobytes())["runtime"] == "onnxruntime"


def test_the_far_side_keeps_few_portraits(cases: dict[str, Case]) -> None:
    server = PortraitServer(OnnxRuntimeGenerator(cases["coarse"].model.generator()))
    tensor = cases["coarse"].portrait["portrait"]
    portraits = [{"portrait": tensor * np.float32(1 - i / 50)} for i in range(MAX_PORTRAITS + 1)]
    for portrait in portraits:
        server.answer({"portrait_key": key_of(portrait), "portrait": pack_portrait(portrait)})
    server.answer({"portrait_key": key_of(portraits[1])})
    with pytest.raises(PortraitUnknown):
        server.answer({"portrait_key": key_of(portraits[0])})


# --- the repository


def test_a_baked_graph_takes_landmarks_only(cases: dict[str, Case]) -> None:
    for case in (cases["small"], cases["coarse"]):
        for body in ("f32", "f16"):
            baked = bake_portrait(case.model.generator(body), case.portrait)
            assert baked.inputs == case.model.generator().frame_inputs
            assert baked.spec == case.model.generator().spec
        baked = bake_portrait(case.model.generator("f32"), case.portrait)
        expected = case.local().generate(moving(1))
        painted = OnnxRuntimeGenerator(baked).generate(moving(1))
        np.testing.assert_allclose(painted, expected.astype(float), atol=1)  # constants are folded
    with pytest.raises(SpecMismatch):
        bake_portrait(cases["small"].model.generator(), cases["coarse"].portrait)


def test_export_replaces_whole_models_and_leaves_others(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    case = cases["small"]
    export: Callable[[], list[Path]] = lambda: export_repository(  # noqa: E731
        tmp_path / "to", case.model, weights=case.weights, portrait=case.portrait, targets=()
    )
    written = export()
    (tmp_path / "to" / "other").mkdir()
    (written[0] / "1" / "stale").write_text("from before")
    assert export() == written
    assert {p.name for p in (tmp_path / "to").iterdir()} == {"other", *(p.name for p in written)}
    assert not (written[0] / "1" / "stale").exists()
    assert (written[0] / "1" / "weights.safetensors").read_bytes() == case.weights
    assert "TYPE_UINT8, dims: [ 512, 512, 4 ]" in (written[1] / "config.pbtxt").read_text()


def test_engines_for_rtx_cards_go_along(cases: dict[str, Case], tmp_path: Path) -> None:
    """Under the key that the server's runtime looks for on such a card."""
    try:
        load_module(RTX)
    except RuntimeUnavailable as missing:
        pytest.skip(str(missing))
    case = cases["coarse"]
    (packed,) = export_repository(
        tmp_path / "to", case.model, weights=case.weights, targets=("SM86", "SM89")
    )
    cache = EngineCache(packed / "1" / ENGINES)
    for target in ("SM86", "SM89"):
        key = engine_key(case.model.generator("f16"), module=RTX, targets=(target,))
        engine = cache.load(key)
        assert engine is not None
        assert engine_targets(engine) == (target,)


def test_a_plan_is_refused_where_it_cannot_be_built(cases: dict[str, Case], tmp_path: Path) -> None:
    try:
        load_module(CLASSIC)
    except RuntimeUnavailable:
        pass
    else:
        pytest.skip("classic TensorRT is installed here")
    case = cases["coarse"]
    with pytest.raises(RuntimeUnavailable, match="installation guide"):
        export_repository(
            tmp_path, case.model, weights=None, portrait=case.portrait, plan=True, targets=()
        )


def test_the_command_writes_the_shared_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["export-model-repository", "--base", "--tier", "coarse", str(tmp_path / "to")])
    assert end.value.code == 0
    model = tmp_path / "to" / served_name(CoarseModel().generator().spec)
    assert (model / "1" / "model.py").is_file()
    assert model.name in capsys.readouterr().out.replace("\n", "")
    with pytest.raises(SystemExit) as end:
        main(["export-model-repository", str(tmp_path)])
    assert end.value.code == 2


# --- the real server


@pytest.mark.parametrize("name", ["coarse", "small", "plain"])
def test_triton_paints_what_this_machine_paints(
    name: str, cases: dict[str, Case], triton: Triton
) -> None:
    case = cases[name]
    remote = RemoteGenerator(case.model.generator(), triton.address, deadline_s=PATIENT_S)
    remote.set_portrait(case.portrait)
    local = case.local()
    allowed = Tolerance(mean=0.05, p999=1, greatest=8) if name == "plain" else OF_NOISE
    for image in reference_images():
        difference = compare(remote.generate(image), local.generate(image))
        assert difference.mean <= allowed.mean, difference
        assert difference.p999 <= allowed.p999, difference
    assert remote.info.runtime == "remote"
    assert "triton" in remote.info.version
    assert (" on " in remote.info.device) is (name != "plain")
    remote.close()


def test_a_portrait_goes_up_once(cases: dict[str, Case], triton: Triton) -> None:
    tensor = cases["coarse"].portrait["portrait"]
    mirrored = {"portrait": np.ascontiguousarray(tensor[..., ::-1])}
    name = served_name(cases["coarse"].model.generator().spec)
    client = KServeClient(triton.address)
    frame = {"portrait_key": key_of(mirrored), **pack_frame(moving(0), ("motion",))}
    with pytest.raises(CallFailed) as failure:
        client.infer(name, frame, ("picture",), PATIENT_S)
    assert failure.value.trouble == "unknown"
    remote = RemoteGenerator(
        cases["coarse"].model.generator(), triton.address, deadline_s=PATIENT_S
    )
    remote.set_portrait(mirrored)
    painted = np.zeros((512, 512, 4), np.uint8)
    unpack_picture(client.infer(name, frame, ("picture",), PATIENT_S)["picture"], painted)
    np.testing.assert_array_equal(remote.generate(moving(0)), painted)
    client.close()
    remote.close()


def test_a_server_without_the_model_says_what_to_do(triton: Triton, cases: dict[str, Case]) -> None:
    tensor = cases["plain"].portrait
    changed = {n: t + np.float32(0.5) for n, t in tensor.items()}
    remote = RemoteGenerator(cases["plain"].model.generator(), triton.address)
    with pytest.raises(EngineFailed, match="export-model-repository"):
        remote.set_portrait(changed)
    with pytest.raises(EngineFailed, match="No portrait"):
        remote.generate(moving(0))
    with pytest.raises(SpecMismatch):
        remote.set_portrait({})
    remote.close()


def test_a_late_answer_is_given_up(cases: dict[str, Case], link: Link) -> None:
    case = cases["coarse"]
    remote = RemoteGenerator(case.model.generator(), link.address, deadline_s=0.3)
    remote.set_portrait(case.portrait)
    link.rate = 1000.0
    with pytest.raises(CallFailed) as failure:
        remote.generate(moving(1))
    assert failure.value.trouble == "late"
    remote.close()


def test_nobody_there_is_said_at_the_start(link: Link) -> None:
    link.cut()
    with pytest.raises(RuntimeUnavailable, match="cannot be reached"):
        open_remote("coarse", server=link.address)
    for address in ("gpu-box", "gpu-box:", ":8001", "http://gpu-box:8001", "gpu-box:99999"):
        with pytest.raises(RuntimeUnavailable, match="HOST:PORT"):
            KServeClient(address)


# --- with the local generator behind it


class Stage:
    """Plays frames; every picture must be the one this machine paints for that frame."""

    def __init__(self, case: Case, address: str, deadline_s: float = PATIENT_S) -> None:
        self._reference = case.local()
        remote = RemoteGenerator(case.model.generator(), address, deadline_s=deadline_s)
        self.generator = RemoteWithLocal(case.local(), remote, first_retry_s=0.2)
        self.generator.set_portrait(case.portrait)
        self._index = 0

    def play(self) -> None:
        image = moving(self._index)
        self._index += 1
        difference = compare(self.generator.generate(image), self._reference.generate(image))
        assert difference.mean <= OF_NOISE.mean, difference

    def until(self, reached: Callable[[], bool]) -> int:
        """Plays until then; how many frames it took."""
        started, frames = time.monotonic(), 0
        while not reached():
            assert time.monotonic() - started < 60, self.generator.why_local
            self.play()
            frames += 1
        return frames

    def remote(self) -> bool:
        return self.generator.info.runtime == "remote"

    def local(self) -> bool:
        return not self.remote()


@pytest.fixture
def on_stage(cases: dict[str, Case], link: Link) -> Iterator[Stage]:
    stage = Stage(cases["coarse"], link.address)
    yield stage
    stage.generator.close()


def test_the_local_one_begins_and_the_server_takes_over(
    on_stage: Stage, cases: dict[str, Case]
) -> None:
    assert on_stage.local()
    on_stage.play()
    on_stage.until(on_stage.remote)
    for _ in range(6):
        on_stage.play()
    assert on_stage.generator.why_local is None
    on_stage.generator.set_portrait(cases["coarse"].portrait)
    assert on_stage.local()
    on_stage.until(on_stage.remote)


def test_a_link_that_breaks_and_comes_back(on_stage: Stage, link: Link) -> None:
    on_stage.until(on_stage.remote)
    link.cut()
    assert on_stage.until(on_stage.local) == 1
    assert "cannot be reached" in str(on_stage.generator.why_local)
    on_stage.play()
    link.mend()
    on_stage.until(on_stage.remote)
    assert on_stage.generator.why_local is None


def test_a_link_that_turns_slow(cases: dict[str, Case], link: Link) -> None:
    stage = Stage(cases["coarse"], link.address, deadline_s=1.0)
    stage.until(stage.remote)
    link.rate = 2000.0
    assert stage.until(stage.local) >= 1
    assert "too slow" in str(stage.generator.why_local)
    for _ in range(3):
        stage.play()
    assert stage.local()
    link.rate = None
    stage.until(stage.remote)
    stage.generator.close()


def test_several_laptops_share_a_server(
    on_stage: Stage, cases: dict[str, Case], triton: Triton
) -> None:
    """Each gets its own portrait; one that was pushed out by others is sent again."""
    on_stage.until(on_stage.remote)
    graph, tensor = cases["coarse"].model.generator(), cases["coarse"].portrait["portrait"]
    other = RemoteGenerator(graph, triton.address, deadline_s=PATIENT_S)
    dark = {"portrait": tensor * np.float32(0.25)}
    other.set_portrait(dark)
    local = OnnxRuntimeGenerator(graph)
    local.set_portrait(dark)
    for index in range(4):
        painted = other.generate(moving(index))
        assert compare(painted, local.generate(moving(index))).mean < OF_NOISE.mean
        on_stage.play()
        assert on_stage.remote()
    for index in range(MAX_PORTRAITS):
        other.set_portrait({"portrait": tensor * np.float32(0.3 + index / 20)})
    assert on_stage.until(on_stage.local) == 1
    on_stage.until(on_stage.remote)
    other.close()


def test_a_server_killed_in_mid_run(cases: dict[str, Case], tmp_path: Path) -> None:
    """Through the loop's own keeper of generators, which tells the user."""
    case = cases["coarse"]
    export_repository(tmp_path / "to", case.model, weights=None, targets=())
    server = Triton(find_triton(), tmp_path / "to", tmp_path)
    events, told = Events(), []
    events.listen(lambda event: told.append(event))
    settings = EngineSettings(
        runtime="remote", tier="coarse", server=server.address, server_deadline_s=PATIENT_S
    )
    keeper = GeneratorKeeper(settings, events)
    keeper.set_portrait(lambda _: case.portrait)
    started = time.monotonic()
    while keeper.info()["runtime"] != "remote":
        assert time.monotonic() - started < 60, told
        keeper.generate(moving(0))
    server.kill()
    for index in range(5):
        picture = keeper.generate(moving(index))
        assert compare(picture, case.local().generate(moving(index))).mean < OF_NOISE.mean
    assert keeper.info()["runtime"] != "remote"
    assert len(keeper.fallbacks) == 1
    assert server.address in keeper.fallbacks[0]
    assert "runtime-fallback" in {event.kind for event in told}
    keeper.close()


# --- hostile answers


def picture_bytes() -> bytes:
    return pack_picture(np.zeros((512, 512, 4), np.uint8)).tobytes()


HOSTILE: dict[str, Callable[[Any], bytes]] = {
    "no output": lambda _: answer(),
    "another output": lambda _: bytes_answer(image=picture_bytes(), info=b"{}"),
    "an output twice": lambda _: bytes_answer(picture=b"a", info=b"{}") * 2,
    "numbers that are none": lambda _: answer(
        picture=("FP32", (512, 512, 4), np.full((512, 512, 4), np.nan, np.float32).tobytes()[:9]),
        info=("UINT8", (2,), b"{}"),
    ),
    "a wrong shape": lambda _: answer(
        picture=("UINT8", (3, 3), b"123456789"), info=("UINT8", (2,), b"{}")
    ),
    "fewer bytes than said": lambda _: answer(
        picture=("UINT8", (512, 512, 4), b"12"), info=("UINT8", (2,), b"{}")
    ),
    "a huge shape": lambda _: answer(
        picture=("UINT8", (2**40, 2**40), b"12"), info=("UINT8", (2,), b"{}")
    ),
    "a negative shape": lambda _: answer(
        picture=("UINT8", (-1, -2), b"12"), info=("UINT8", (2,), b"{}")
    ),
    "garbage for a picture": lambda _: bytes_answer(
        picture=np.random.default_rng(1).bytes(3000), info=b"{}"
    ),
    "a giant message": lambda _: bytes_answer(picture=bytes(32 * 2**20), info=b"{}"),
    "no message at all": lambda _: b"\xff\xff\xff\xff garbage",
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_answers_are_refused(kind: str, cases: dict[str, Case]) -> None:
    case = cases["coarse"]
    impostor = Impostor(HOSTILE[kind])
    remote = RemoteGenerator(case.model.generator(), impostor.address, deadline_s=PATIENT_S)
    with pytest.raises(EngineFailed) as failure:
        remote.set_portrait(case.portrait)
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) < 500
    remote.close()
    impostor.close()


def test_a_server_that_paints_something_else_never_goes_on_air(cases: dict[str, Case]) -> None:
    grey = np.full((512, 512, 4), 128, np.uint8)
    said = b'{"runtime": "\\u001b[31m", "version": 7, "device": {}, "precision": "f16"}'
    impostor = Impostor(lambda _: bytes_answer(picture=pack_picture(grey), info=said))
    stage = Stage(cases["coarse"], impostor.address)
    stage.until(lambda: stage.generator.why_local is not None)
    assert stage.local()
    assert "another picture" in str(stage.generator.why_local)
    assert str(stage.generator.why_local).isprintable()
    stage.generator.close()
    impostor.close()


def test_only_landmarks_and_the_portrait_go_up(cases: dict[str, Case]) -> None:
    case = cases["small"]
    good = pack_picture(case.local().generate(moving(0)))
    impostor = Impostor(lambda _: bytes_answer(picture=good, info=b"{}"))
    remote = RemoteGenerator(case.model.generator(), impostor.address, deadline_s=PATIENT_S)
    remote.set_portrait(case.portrait)
    remote.generate(moving(2))
    request = impostor.requests[-1]
    assert [i.name for i in request.inputs] == ["portrait_key", "contours", "motion"]
    assert request.ByteSize() < 32_000
    remote.close()
    impostor.close()


# --- on request only


def test_remote_is_on_request_only() -> None:
    options: dict[str, Any] = {
        "size": "512x512",
        "background": "original",
        "pose": "relative",
        "expression_strength": None,
        "pose_strength": None,
        "label_size": "medium",
        "label_elsewhere": None,
        "label_language": "en",
        "require_gpu": False,
    }
    look = look_of(**options, runtime="remote", server="gpu-box:8001")
    assert look.engine.server == "gpu-box:8001"
    assert look_of(**options, runtime="auto").engine.server is None
    for runtime, server in (("remote", None), ("auto", "gpu-box:8001")):
        with pytest.raises(UserError, match="--server"):
            look_of(**options, runtime=runtime, server=server)
    with pytest.raises(RuntimeUnavailable, match="--server"):
        open_remote("coarse", server=None)
