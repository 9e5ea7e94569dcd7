"""One contract for every generator runtime, the choice among them, the gate and the cache."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.cache import CacheKey, EngineCache
from engines.coarse import coarse_portrait
from engines.contract import (
    EngineFailed,
    Generator,
    LandmarkImage,
    ParityError,
    PortraitTensors,
    RuntimeUnavailable,
    SpecMismatch,
)
from engines.encode import encode_portrait
from engines.in_turn import FinishedLate
from engines.models import CoarseModel, Model, load_model_of
from engines.parity import (
    check_parity,
    compare,
    make_reference,
    reference_images,
    reference_portrait,
    reference_portrait_arrays,
)
from engines.runtime_openvino import _precisions, quickest
from engines.runtimes import _open_checked, candidates, choose_generator
from engines.takeover import TakeoverGenerator, open_at_once
from engines.ways import Way, Wish, usable_ways, ways
from tests.engine_models import measured_model, random_model

WAYS = [(way.runtime, way.device) for way in ways()]
PRECISIONS = {
    ("openvino", "CPU"): ("f32", "bf16", "int8"),
    ("onnxruntime", "cpu"): ("f32",),
    ("torch", "cpu"): ("f32",),
}
"""Of the ways that any machine may have; the others are tried in their own choice."""
HERE = [(c.runtime, c.device) for c in candidates() if c.available]
CASES = [(*way, precision) for way in HERE for precision in PRECISIONS.get(way, ("auto",))]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session", params=CASES, ids="-".join)
def generator(request: pytest.FixtureRequest, cache: EngineCache) -> Iterator[Generator]:
    runtime, device, precision = request.param
    way = next(w for w in ways() if (w.runtime, w.device) == (runtime, device))
    try:
        way.probe()
        model = measured_model() if precision == "int8" else random_model()
        opened = way.open(model, Wish(precision), cache)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    if runtime == "torch":  # its threads spin while they wait: slow beside other work
        import torch

        torch.set_num_threads(1)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def portrait() -> PortraitTensors:
    model = random_model()
    return reference_portrait(model, model.generator())


@pytest.fixture(scope="session")
def image() -> LandmarkImage:
    return reference_images()[1]


class TestContract:
    def test_paints_what_the_reference_paints(
        self, generator: Generator, cache: EngineCache
    ) -> None:
        difference = check_parity(generator, make_reference(random_model(), cache))
        assert difference.mean < (0.8 if generator.info.precision == "int8" else 0.2)

    def test_picture_and_info(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        generator.set_portrait(portrait)
        picture = generator.generate(image)
        assert picture.shape == (512, 512, 4)
        assert picture.dtype == np.uint8
        assert picture.std() > 10
        assert generator.spec.tier == "small"
        assert all((generator.info.runtime, generator.info.version, generator.info.device))

    def test_the_same_frame_gives_the_same_picture(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        generator.set_portrait(portrait)
        first = generator.generate(image).copy()
        other = generator.generate(reference_images()[2]).copy()
        again = generator.generate(image)
        np.testing.assert_array_equal(first, again)
        assert compare(first, other).mean > 1

    def test_the_picture_s_buffer_is_reused(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        generator.set_portrait(portrait)
        assert np.shares_memory(generator.generate(image), generator.generate(image))

    def test_pictures_are_begun_before_they_are_wanted(
        self, generator: Generator, portrait: PortraitTensors
    ) -> None:
        generator.set_portrait(portrait)
        images = reference_images()[:4]
        wanted = [generator.generate(each).copy() for each in images]
        pen = LandmarkImage(*(array.copy() for array in images[0]))
        found = []
        for count, each in enumerate(images):
            for array, drawn in zip(pen, each, strict=True):
                np.copyto(array, drawn)
            generator.begin(pen)
            for array in pen:
                array[...] = 0  # the pen is the caller's again
            if count:
                found.append(generator.finish().copy())
        generator.begin(images[0])
        with pytest.raises(RuntimeError, match="finish one"):
            generator.begin(images[1])
        found += [generator.finish().copy() for _ in range(2)]
        for first, second in zip([*wanted, wanted[0]], found, strict=True):
            np.testing.assert_array_equal(first, second)
        with pytest.raises(RuntimeError, match="no picture was begun"):
            generator.finish()
        np.testing.assert_array_equal(generator.generate(images[2]), wanted[2])

    def test_portraits_change_without_a_trace(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        other = {name: np.ascontiguousarray(t[..., ::-1]) for name, t in portrait.items()}
        generator.set_portrait(portrait)
        before = generator.generate(image).copy()
        generator.set_portrait(other)
        assert compare(before, generator.generate(image)).mean > 1
        generator.set_portrait(portrait)
        np.testing.assert_array_equal(before, generator.generate(image))

    def test_the_caller_s_arrays_stay_the_caller_s(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        mine = {name: tensor.copy() for name, tensor in portrait.items()}
        generator.set_portrait(mine)
        before = generator.generate(image).copy()
        for tensor in mine.values():
            tensor[...] = 0
        np.testing.assert_array_equal(before, generator.generate(image))

    @pytest.mark.parametrize("fault", ["missing", "extra", "shape", "dtype", "nan"])
    def test_wrong_portraits_are_refused_and_change_nothing(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage, fault: str
    ) -> None:
        generator.set_portrait(portrait)
        before = generator.generate(image).copy()
        wrong = {name: np.zeros_like(tensor) for name, tensor in portrait.items()}
        if fault == "missing":
            del wrong["code"]
        elif fault == "extra":
            wrong["surprise"] = wrong["code"]
        elif fault == "shape":
            wrong["code"] = wrong["code"][:, :-1]
        elif fault == "dtype":
            wrong["code"] = wrong["code"].astype(np.float64)  # type: ignore[assignment]
        else:
            wrong["features"][0, 0, 0, 0] = np.nan
        with pytest.raises(SpecMismatch):
            generator.set_portrait(wrong)
        np.testing.assert_array_equal(before, generator.generate(image))

    def test_wrong_frames_are_refused(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        generator.set_portrait(portrait)
        with pytest.raises(SpecMismatch, match="motion"):
            generator.generate(image._replace(motion=image.motion[:64]))
        with pytest.raises(SpecMismatch, match="contours"):
            generator.generate(image._replace(contours=image.contours.astype(np.float32)))  # type: ignore[arg-type]

    def test_motion_that_is_not_finite_does_not_break_the_next_frame(
        self, generator: Generator, portrait: PortraitTensors, image: LandmarkImage
    ) -> None:
        generator.set_portrait(portrait)
        before = generator.generate(image).copy()
        generator.generate(image._replace(motion=np.full_like(image.motion, 1e9)))
        np.testing.assert_array_equal(before, generator.generate(image))


@pytest.mark.parametrize(("runtime", "device"), WAYS)
def test_a_portrait_comes_first_and_closing_is_final(
    runtime: str, device: str, cache: EngineCache, image: LandmarkImage
) -> None:
    way = next(w for w in ways() if (w.runtime, w.device) == (runtime, device))
    try:
        way.probe()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    generator = way.open(random_model(), Wish(), cache)
    with pytest.raises(SpecMismatch, match="set_portrait"):
        generator.generate(image)
    generator.close()
    generator.close()
    with pytest.raises(EngineFailed, match="closed"):
        generator.generate(image)


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def coarse(request: pytest.FixtureRequest, cache: EngineCache) -> Iterator[Generator]:
    choice = choose_generator("coarse", runtime=request.param, device="cpu", cache=cache)
    yield choice.generator
    choice.generator.close()


class TestCoarse:
    def test_no_motion_gives_the_portrait(self, coarse: Generator) -> None:
        rng = np.random.default_rng(0)
        rgba = rng.integers(0, 256, (512, 512, 4), dtype=np.uint8)
        coarse.set_portrait(coarse_portrait(rgba[:, :, :3], rgba[:, :, 3]))
        still = LandmarkImage(np.zeros((256, 256, 3), np.uint8), np.zeros((128, 128, 2), "f4"))
        errors = np.abs(coarse.generate(still).astype(int) - rgba)
        assert errors.max() <= 1

    def test_motion_points_to_where_the_colour_comes_from(self, coarse: Generator) -> None:
        rng = np.random.default_rng(0)
        rgba = rng.integers(0, 256, (512, 512, 4), dtype=np.uint8)
        coarse.set_portrait(coarse_portrait(rgba[:, :, :3], rgba[:, :, 3]))
        right = np.zeros((128, 128, 2), np.float32)
        right[:, :, 0] = 2 * 16 / 512  # 16 pixels of the 512, in half-widths
        moved = coarse.generate(LandmarkImage(np.zeros((256, 256, 3), np.uint8), right))
        errors = np.abs(moved[:, :-16].astype(int) - rgba[:, 16:])
        assert errors.max() <= 1
        np.testing.assert_array_equal(moved[:, -1], moved[:, -16])  # the edge repeats

    def test_it_fits_every_drawing(self, cache: EngineCache) -> None:
        choose_generator("coarse", expected_draw_style="whatever/7", cache=cache).generator.close()


class TestEncode:
    def test_both_runtimes_agree_and_fit_the_generator(self) -> None:
        from engines.encode import _encode_onnxruntime

        model = random_model()
        rgb, matte, contours = reference_portrait_arrays()
        tensors = encode_portrait(rgb, matte, contours, model=model)
        encoder = model.encoder()
        assert encoder is not None
        inputs = dict(
            zip(
                ("portrait_rgb", "portrait_matte", "portrait_contours"),
                (rgb, matte, contours),
                strict=True,
            )
        )
        for name, tensor in _encode_onnxruntime(encoder, inputs).items():
            np.testing.assert_allclose(tensors[name], tensor, atol=1e-3)
        assert {n: t.shape for n, t in tensors.items()} == {
            n: s.shape for n, s in model.generator().portrait_inputs.items()
        }
        assert all(t.dtype == np.float32 for t in tensors.values())

    def test_wrong_pictures_are_refused(self) -> None:
        rgb, matte, contours = reference_portrait_arrays()
        with pytest.raises(SpecMismatch, match="portrait_matte"):
            encode_portrait(rgb, matte[:256], contours, tier="coarse")


class _Faulty(FinishedLate):
    """A generator with an injected fault, for the gate."""

    def __init__(self, inner: Generator, fault: str) -> None:
        super().__init__()
        self.inner, self.fault = inner, fault
        self.spec, self.info = inner.spec, inner.info
        self.closed = False
        if fault == "stale":
            self.spec = replace(inner.spec, weights_sha256="0" * 64)

    def set_portrait(self, tensors: PortraitTensors) -> None:
        self.inner.set_portrait(tensors)

    def generate(self, image: LandmarkImage) -> np.ndarray:
        picture = self.inner.generate(image).copy()
        if self.fault == "swapped":
            picture[:, :, [0, 2]] = picture[:, :, [2, 0]]
        elif self.fault == "black":  # what NaN becomes as a byte
            picture[...] = 0
        elif self.fault == "late":
            picture, self.last = getattr(self, "last", picture), picture
        elif self.fault == "half":
            picture = picture[:256]
        return picture

    def close(self) -> None:
        self.closed = True


def _faulty_way(faults: list[str], opened: list[_Faulty]) -> Way:
    def open_way(model: Model, wish: Wish, cache: EngineCache) -> Generator:
        real = next(w for w in ways() if (w.runtime, w.device) == ("openvino", "CPU"))
        opened.append(_Faulty(real.open(model, wish, cache), faults[len(opened)]))
        return opened[-1]

    return Way("faulty", "test", False, True, lambda: None, open_way)


class TestParityGate:
    @pytest.mark.parametrize("fault", ["swapped", "black", "stale", "late", "half"])
    def test_a_wrong_engine_is_refused_after_one_more_try(
        self, fault: str, cache: EngineCache
    ) -> None:
        opened: list[_Faulty] = []
        way = _faulty_way([fault, fault], opened)
        with pytest.raises(ParityError):
            _open_checked(way, random_model(), Wish("f32"), cache)
        assert [engine.closed for engine in opened] == [True, True]

    def test_a_wrong_engine_is_built_again_once(
        self, cache: EngineCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        opened: list[_Faulty] = []
        way = _faulty_way(["swapped", "none"], opened)
        generator = _open_checked(way, random_model(), Wish("f32"), cache)
        assert generator is opened[1]
        assert opened[0].closed
        assert "built again" in caplog.text

    def test_float32_is_tried_last_when_the_choice_is_ours(self, cache: EngineCache) -> None:
        opened: list[_Faulty] = []
        way = _faulty_way(["black", "black", "none"], opened)
        generator = _open_checked(way, random_model(), Wish(), cache)
        assert generator is opened[2]
        assert generator.info.precision == "f32"

    def test_other_weights_do_not_pass(self, cache: EngineCache) -> None:
        real = next(w for w in ways() if (w.runtime, w.device) == ("onnxruntime", "cpu"))
        other = real.open(random_model(seed=1), Wish(), cache)
        reference = make_reference(random_model(seed=0), cache)
        disguised = _Faulty(other, "none")
        disguised.spec = replace(other.spec, weights_sha256=reference.weights_sha256)
        with pytest.raises(ParityError, match="mean error"):
            check_parity(disguised, reference)

    def test_a_damaged_reference_is_made_again(self, tmp_path: Path) -> None:
        cache = EngineCache(tmp_path)
        first = make_reference(CoarseModel(), cache)
        (file,) = tmp_path.glob("reference-*.bin")
        file.write_bytes(file.read_bytes()[:1000])
        again = make_reference(CoarseModel(), cache)
        np.testing.assert_array_equal(first.pictures[1], again.pictures[1])


def _gpus() -> frozenset[tuple[str, str]]:
    return frozenset((way.runtime, way.device) for way in ways() if way.is_gpu)


class TestChoice:
    def test_every_way_is_listed_with_a_reason_if_it_cannot_be_gone(self) -> None:
        listed = candidates()
        assert {(c.runtime, c.device) for c in listed} >= {("openvino", "CPU"), ("torch", "cuda")}
        for candidate in listed:
            assert candidate.available is (candidate.reason == "")

    def test_rejections_are_kept_and_logged_once(
        self, cache: EngineCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        if any(way.is_gpu for way in usable_ways()):
            pytest.skip("a GPU is here; nothing before it is rejected")
        with caplog.at_level(logging.INFO, logger="engines"):
            choice = choose_generator("coarse", cache=cache)
        assert (choice.runtime, choice.is_gpu) == ("openvino", False)
        for candidate in choice.rejected:
            assert candidate.reason
            lines = [r for r in caplog.records if candidate.reason in r.getMessage()]
            named = [r for r in lines if f"{candidate.runtime} on" in r.getMessage()]
            assert len(named) == 1
        choice.generator.close()

    def test_a_required_gpu_is_not_replaced(self, cache: EngineCache) -> None:
        if any(way.is_gpu for way in usable_ways()):
            pytest.skip("a GPU is here")
        with pytest.raises(RuntimeUnavailable, match="GPU") as caught:
            choose_generator("coarse", require_gpu=True, cache=cache)
        assert "openvino on CPU: A GPU is required" in str(caught.value)

    @pytest.mark.parametrize(("device", "tier"), [("cuda", "base"), ("directml", "small")])
    def test_the_larger_network_is_for_graphics_cards(
        self, device: str, tier: str, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[_Faulty] = []
        way = replace(_faulty_way(["none"], opened), device=device, is_gpu=True)
        monkeypatch.setattr("engines.runtimes.ways", lambda: (way,))
        choice = choose_generator(precision="f32", cache=cache)
        assert choice.generator is opened[0]
        assert choice.generator.spec.tier == tier

    def test_unknown_names_list_the_known(self, cache: EngineCache) -> None:
        with pytest.raises(RuntimeUnavailable, match=r"Known: .*openvino on CPU"):
            choose_generator("coarse", runtime="tensorflow", cache=cache)

    def test_an_error_of_a_library_s_own_is_a_reason_like_any_other(
        self, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Libraries raise what they like: out of memory, not implemented, a bare Exception."""

        class Odd(Exception):
            pass

        def refuse(*_: object, **__: object) -> None:
            raise Odd("the plug-in is of another version")

        monkeypatch.setattr("engines.runtime_openvino.OpenVinoGenerator.__init__", refuse)
        choice = choose_generator("coarse", cache=cache, without=_gpus())
        assert choice.runtime == "onnxruntime"
        (openvino,) = [c for c in choice.rejected if (c.runtime, c.device) == ("openvino", "CPU")]
        assert openvino.reason == "Odd: the plug-in is of another version"
        choice.generator.close()

    def test_a_library_that_breaks_down_when_asked_is_not_here(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def break_down() -> None:
            raise RuntimeError("plugins.xml is damaged")

        monkeypatch.setattr("engines.runtime_openvino.available_devices", break_down)
        reasons = {c.reason for c in candidates() if c.runtime == "openvino"}
        assert reasons == {"RuntimeError: plugins.xml is damaged"}
        assert "openvino" not in {way.runtime for way in usable_ways()}

    def test_a_torch_without_cuda_is_not_offered_for_a_gpu(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engines.nvidia.find_gpu", lambda: None)
        spec = importlib.util.spec_from_file_location("torch", tmp_path / "__init__.py")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
        way = next(w for w in ways() if (w.runtime, w.device) == ("torch", "cuda"))
        (tmp_path / "version.py").write_text("cuda: Optional[str] = None\n")
        with pytest.raises(RuntimeUnavailable, match="without CUDA"):
            way.probe()
        (tmp_path / "version.py").write_text("cuda: Optional[str] = '12.8'\n")
        way.probe()

    def test_one_runtime_cannot_do_another_s_precision(self, cache: EngineCache) -> None:
        with pytest.raises(RuntimeUnavailable, match="bf16"):
            choose_generator("coarse", runtime="onnxruntime", precision="bf16", cache=cache)

    def test_threads_and_precision_are_read_back(self, cache: EngineCache) -> None:
        choice = choose_generator(
            "coarse", runtime="openvino", precision="f32", threads=1, cache=cache
        )
        assert choice.generator.info.precision == "f32"
        assert "1 thread)" in choice.generator.info.device
        choice.generator.close()

    def test_the_quickest_of_compiled_graphs_is_taken(self) -> None:
        openvino = pytest.importorskip("openvino")
        core = openvino.Core()
        compiled = [
            core.compile_model(core.read_model(model.generator("f32").data), "CPU")
            for model in (random_model(), CoarseModel())  # one computes fifty times more
        ]
        assert quickest(compiled) == 1
        assert quickest(compiled[::-1]) == 0

    def test_a_precision_of_our_choice_is_one_the_processor_has(self, cache: EngineCache) -> None:
        generator = choose_generator("coarse", runtime="openvino", cache=cache).generator
        assert generator.info.precision in ("f32", "bf16")  # nothing to compute in 8 bits
        generator.close()

    def test_a_busy_moment_cannot_choose_what_is_always_slower(self) -> None:
        core = pytest.importorskip("openvino").Core()
        if "INT8" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("this processor does not compute in 8 bits")
        if platform.machine().lower() not in ("x86_64", "amd64"):
            pytest.skip("8 bits were compared with f32 on x86 only")
        assert _precisions(core, "CPU", "auto", measured=True)[0] == "int8"
        assert "f32" not in _precisions(core, "CPU", "auto", measured=True)
        assert "f32" in _precisions(core, "CPU", "auto", measured=False)

    def test_exact_pictures_do_not_depend_on_what_is_quickest_now(self, cache: EngineCache) -> None:
        for runtime, precision in (("openvino", "f32"), ("onnxruntime", "f32")):
            choice = choose_generator("small", runtime=runtime, precision="exact", cache=cache)
            assert choice.generator.info.precision == precision
            choice.generator.close()

    def test_no_tier_is_invented(self) -> None:
        with pytest.raises(SpecMismatch, match="huge"):
            load_model_of("huge")


class TestTakeover:
    @staticmethod
    def _coarse(runtime: str, device: str, cache: EngineCache) -> Generator:
        way = next(w for w in ways() if (w.runtime, w.device) == (runtime, device))
        return way.open(CoarseModel(), Wish("f32"), cache)

    @pytest.fixture
    def coarse(self) -> PortraitTensors:
        rgb, matte, _ = reference_portrait_arrays()
        return coarse_portrait(rgb, matte)

    def test_the_better_one_takes_over_without_a_gap(
        self, cache: EngineCache, coarse: PortraitTensors, image: LandmarkImage
    ) -> None:
        built = threading.Event()

        def better() -> Generator:
            assert built.wait(30)
            return self._coarse("openvino", "CPU", cache)

        generator = TakeoverGenerator(self._coarse("onnxruntime", "cpu", cache), better)
        generator.set_portrait(coarse)
        before = generator.generate(image).copy()
        assert generator.info.runtime == "onnxruntime"
        built.set()
        generator.wait(30)
        after = generator.generate(image)
        assert generator.info.runtime == "openvino"
        assert compare(before, after).greatest <= 1
        generator.close()

    def test_what_the_first_one_began_it_finishes(
        self, cache: EngineCache, coarse: PortraitTensors, image: LandmarkImage
    ) -> None:
        built = threading.Event()
        first = _Faulty(self._coarse("onnxruntime", "cpu", cache), "none")

        def better() -> Generator:
            assert built.wait(30)
            return self._coarse("openvino", "CPU", cache)

        generator = TakeoverGenerator(first, better)
        generator.set_portrait(coarse)
        generator.begin(image)
        built.set()
        generator.wait(30)
        generator.begin(reference_images()[2])
        assert generator.info.runtime == "openvino"
        assert not first.closed
        before = generator.finish()
        assert first.closed
        assert compare(before, first.inner.generate(image)).greatest == 0
        after = generator.finish().copy()
        assert compare(after, generator.generate(reference_images()[2])).greatest == 0
        generator.close()

    def test_one_that_cannot_be_opened_leaves_the_first(
        self, cache: EngineCache, coarse: PortraitTensors, image: LandmarkImage
    ) -> None:
        def better() -> Generator:
            raise EngineFailed("Out of GPU memory.")

        generator = TakeoverGenerator(self._coarse("onnxruntime", "cpu", cache), better)
        generator.set_portrait(coarse)
        generator.wait(30)
        generator.generate(image)
        assert generator.better_failed == "Out of GPU memory."
        assert generator.info.runtime == "onnxruntime"
        generator.close()

    def test_one_of_another_network_is_refused(
        self, cache: EngineCache, coarse: PortraitTensors, image: LandmarkImage
    ) -> None:
        way = next(w for w in ways() if (w.runtime, w.device) == ("openvino", "CPU"))
        generator = TakeoverGenerator(
            self._coarse("onnxruntime", "cpu", cache),
            lambda: way.open(random_model(), Wish("f32"), cache),
        )
        generator.set_portrait(coarse)
        generator.wait(30)
        generator.generate(image)
        assert generator.spec.tier == "coarse"
        assert "tensors do not fit" in str(generator.better_failed)
        generator.close()

    def test_closed_before_it_is_ready(self, cache: EngineCache) -> None:
        built = threading.Event()
        late = _Faulty(self._coarse("openvino", "CPU", cache), "none")

        def better() -> Generator:
            assert built.wait(30)
            return late

        generator = TakeoverGenerator(self._coarse("onnxruntime", "cpu", cache), better)
        generator.close()
        built.set()
        generator.wait(30)
        assert late.closed

    def test_without_a_gpu_it_just_opens(self, cache: EngineCache) -> None:
        if any(way.is_gpu for way in usable_ways()):
            pytest.skip("a GPU is here")
        generator = open_at_once("coarse", cache=cache)
        assert generator.info.runtime == "openvino"
        generator.close()


KEY = CacheKey("a" * 64, "engine", "module", "1.2.3", ("SM89",), "f16", "x[1]")


class TestCache:
    def test_kept_under_everything_it_depends_on(self, tmp_path: Path) -> None:
        cache = EngineCache(tmp_path)
        assert cache.load(KEY) is None
        assert cache.get_or_build(KEY, lambda: b"engine") == b"engine"
        assert cache.get_or_build(KEY, lambda: b"other") == b"engine"
        for change in (
            {"graph_sha256": "b" * 64},
            {"module": "m2"},
            {"version": "1.2.4"},
            {"targets": ("SM86",)},
            {"precision": "f32"},
            {"shapes": "x[2]"},
        ):
            assert cache.load(replace(KEY, **change)) is None  # type: ignore[arg-type]

    @pytest.mark.parametrize("damage", ["cut", "bit", "no sidecar", "bad sidecar", "swapped key"])
    def test_damage_is_seen_and_repaired(self, tmp_path: Path, damage: str) -> None:
        cache = EngineCache(tmp_path)
        cache.store(KEY, bytes(range(200)))
        (file,), (sidecar,) = tmp_path.glob("*.bin"), tmp_path.glob("*.json")
        if damage == "cut":
            file.write_bytes(file.read_bytes()[:-1])
        elif damage == "bit":
            file.write_bytes(b"\1" + file.read_bytes()[1:])
        elif damage == "no sidecar":
            sidecar.unlink()
        elif damage == "bad sidecar":
            sidecar.write_text("[" * 10_000)
        else:
            sidecar.write_text(sidecar.read_text().replace("1.2.3", "1.2.4"))
        assert cache.load(KEY) is None
        assert cache.get_or_build(KEY, lambda: b"new") == b"new"
        assert cache.load(KEY) == b"new"

    def test_a_folder_that_cannot_be_written_only_costs_time(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("a file where the folder should be")
        cache = EngineCache(blocked / "engines")
        assert cache.get_or_build(KEY, lambda: b"engine") == b"engine"
        assert "PUPPET_CACHE" in caplog.text

    def test_the_least_used_goes_first(self, tmp_path: Path) -> None:
        import os

        cache = EngineCache(tmp_path, max_bytes=250)
        keys = [replace(KEY, version=str(i)) for i in range(3)]
        for index, key in enumerate(keys[:2]):
            cache.store(key, bytes(100))
            os.utime(cache._path(key), ns=(index, index))
        assert cache.load(keys[0]) is not None  # used just now
        cache.store(keys[2], bytes(100))
        assert [cache.load(key) is not None for key in keys] == [True, False, True]

    def test_what_killed_processes_left_goes(self, tmp_path: Path) -> None:
        cache = EngineCache(tmp_path)
        old, new = tmp_path / "engine-1.bin.x.part", tmp_path / "engine-2.lock"
        for path in (old, new):
            path.write_bytes(b"half")
        os.utime(old, (1, 1))
        cache.store(KEY, b"whole")
        assert not old.exists()
        assert new.exists(), "another process may be at work on it"
        assert cache.load(KEY) == b"whole"

    def test_two_builders_build_once(self, tmp_path: Path) -> None:
        builds: list[int] = []
        results: list[bytes] = []
        gate = threading.Barrier(4)

        def build() -> bytes:
            builds.append(1)
            threading.Event().wait(0.05)
            return bytes(1000)

        def ask() -> None:
            gate.wait()
            results.append(EngineCache(tmp_path).get_or_build(KEY, build))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(builds) == 1
        assert results == [bytes(1000)] * 4
        assert not list(tmp_path.glob("*.part"))
