"""A remote generator with the local one behind it: a picture is on air whatever the link does.

The local generator starts; a thread sends it the portrait, then frames on trial, and only when
answers come in time and show what the local generator shows does the remote one take over. A
frame that is late or wrong is painted locally; too many of them, or a link that is gone, and the
local one stays on air until a later trial succeeds.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    Generator,
    GeneratorSpec,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    RuntimeUnavailable,
    reason,
)
from engines.in_turn import FinishedLate, copy_of
from engines.kserve import CallFailed
from engines.models import load_model_of
from engines.parity import Tolerance, compare
from engines.runtime_remote import DEADLINE_S, NAME, RemoteGenerator
from engines.takeover import open_at_once
from engines.ways import AUTO

TOLERANCE = Tolerance(mean=3.0, p999=60, greatest=255)
"""Between a picture that travelled as JPEG, of any precision, and the local one."""
TRIALS = 3
"""Frames on trial, all of which must come in time and be right."""
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
STEADY_S = 30.0
"""A link that held this long is tried again soon after it failed."""
LATE_COUNTS, MISSES_ALLOWED = 3, 9
"""A late frame counts 3, a good one takes 1 back, at 9 the link is too slow."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A frame and what the local generator painted for it; copies."""

    image: LandmarkImage
    picture: NDArray[np.uint8]


class _Overtaken(Exception):
    """A trial that is no longer wanted: another portrait, or the end."""


class RemoteWithLocal(FinishedLate):
    """A generator that runs on a server while that is fast and right, and here otherwise.

    `info` names the one on air; `why_local` says why the remote one is not, None while it is or
    has yet to be tried.
    """

    def __init__(
        self,
        local: Generator,
        remote: RemoteGenerator,
        *,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        """Takes both over and closes them. They must be of the same weights."""
        super().__init__()
        self._local, self._remote = local, remote
        self.spec: GeneratorSpec = local.spec
        self.info: RuntimeInfo = local.info
        self.why_local: str | None = None
        self._first_retry_s = self._retry_s = first_retry_s
        self._misses = 0
        self._on_air_since: float | None = None
        # What the two threads share, under the lock. A round is one attempt to take over; the
        # remote generator is the thread's until its round has passed, then the caller's.
        self._lock = threading.Condition()
        self._portrait: PortraitTensors | None = None
        self._round, self._passed = 0, 0
        self._not_before = 0.0
        self._trial: _Trial | None = None
        self._wants_trial = False
        self._closed = False
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._try_remote, name="remote", daemon=True)
        self._thread.start()

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator. The local one plays until the server has the portrait."""
        self._local.set_portrait(tensors)
        self._portrait = tensors
        self._go_local(pause_s=0.0)

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator; EngineFailed only when the local one fails."""
        if self._on_air_since is None:
            self._look_at_trials()
        if self._on_air_since is not None:
            try:
                picture = self._remote.generate(image)
                self._misses = max(0, self._misses - 1)
                return picture
            except Exception as error:  # noqa: BLE001 (a library's edge)
                self._missed(error)
        picture = self._local.generate(image)
        if self._local.info is not self.info and self._on_air_since is None:
            self.info = self._local.info  # a GPU here has taken over
        if self._wants_trial:
            self._hand_over(image, picture)
        return picture

    def close(self) -> None:
        """See engines.contract.Generator. Calls under way are cancelled."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._remote.close()
        self._thread.join(2.0)
        self._local.close()

    def _look_at_trials(self) -> None:
        with self._lock:
            passed = self._round > 0 and self._passed == self._round
            failure, self._failure = self._failure, None
        if passed:
            self._on_air_since = time.monotonic()
            self._misses, self.why_local = 0, None
            self.info = self._remote.info
            _log.info("%s took over.", self.info.device)
        elif failure is not None and failure != self.why_local:
            self._say(failure)

    def _missed(self, error: Exception) -> None:
        """One late frame is forgiven, several in a short time are not; nor is anything else."""
        late = isinstance(error, CallFailed) and error.trouble == "late"
        self._misses += LATE_COUNTS if late else MISSES_ALLOWED
        if self._misses < MISSES_ALLOWED:
            return
        steady = time.monotonic() - (self._on_air_since or 0.0) > STEADY_S
        self._retry_s = self._first_retry_s if steady else self._next_pause()
        self._go_local(pause_s=self._retry_s)
        self._say(f"The link to the server is too slow: {error}" if late else reason(error))

    def _go_local(self, *, pause_s: float) -> None:
        """The local one is on air; after the pause the remote one may try again."""
        self._on_air_since = None
        self.info = self._local.info
        with self._lock:
            self._round += 1
            self._not_before = time.monotonic() + pause_s
            self._trial, self._wants_trial, self._failure = None, False, None
            self._lock.notify_all()

    def _say(self, why: str) -> None:
        self.why_local = why
        _log.warning("%s The portrait is computed here meanwhile.", why)

    def _hand_over(self, image: LandmarkImage, picture: NDArray[np.uint8]) -> None:
        with self._lock:
            if self._wants_trial:
                trial = _Trial(copy_of(image), picture.copy())
                self._trial, self._wants_trial = trial, False
                self._lock.notify_all()

    def _next_pause(self) -> float:
        return min(2 * self._retry_s, LONGEST_RETRY_S)

    # From here on: the thread.

    def _try_remote(self) -> None:
        while (job := self._next_round()) is not None:
            portrait, this_round = job
            try:
                self._remote.set_portrait(portrait)
                for _ in range(TRIALS):
                    self._check(self._next_trial(this_round))
            except _Overtaken:
                continue
            except Exception as error:  # noqa: BLE001 (a thread's and a library's edge)
                with self._lock:
                    if self._round == this_round and not self._closed:
                        self._failure = reason(error)
                        self._not_before = time.monotonic() + self._retry_s
                        self._retry_s = self._next_pause()
                continue
            with self._lock:
                self._passed = this_round

    def _next_round(self) -> tuple[PortraitTensors, int] | None:
        """Waits until there is something to try; None at the end."""
        with self._lock:
            while not self._closed:
                pause_s = self._not_before - time.monotonic()
                if self._portrait is None or self._passed == self._round:
                    self._lock.wait()
                elif pause_s > 0:
                    self._lock.wait(pause_s)
                else:
                    return self._portrait, self._round
        return None

    def _next_trial(self, this_round: int) -> _Trial:
        """A frame that the local generator has just painted."""
        with self._lock:
            self._trial, self._wants_trial = None, True
            self._lock.wait_for(lambda: self._trial or self._closed or self._round != this_round)
            if self._trial is None:
                raise _Overtaken
            return self._trial

    def _check(self, trial: _Trial) -> None:
        difference = compare(self._remote.generate(trial.image), trial.picture)
        if difference.mean > TOLERANCE.mean or difference.p999 > TOLERANCE.p999:
            raise CallFailed(
                f"{self._remote.info.device} paints another picture than the generator here: mean "
                f"error {difference.mean:.1f} (at most {TOLERANCE.mean}), 99.9 % within "
                f"{difference.p999:.0f} (at most {TOLERANCE.p999}) of 255.",
                "refused",
            )


def open_remote(
    tier: str = AUTO,
    *,
    server: str | None,
    deadline_s: float = DEADLINE_S,
    weights: Path | None = None,
    onnx: Path | None = None,
    runtime: str = NAME,
    **wishes: Any,
) -> RemoteWithLocal:
    """In place of engines.runtimes.open_generator: the server's generator, and the best local one
    behind it, of the same weights. `wishes` are for the local one.

    Raises RuntimeUnavailable when no server answers at the start, SpecMismatch.
    """
    if not server:
        raise RuntimeUnavailable(
            "The runtime 'remote' needs a server: --server HOST:PORT (its gRPC port)."
        )
    local = open_at_once(tier, weights=weights, onnx=onnx, **{**wishes, "device": AUTO})
    try:
        graph = load_model_of(local.spec.tier, weights=weights, onnx=onnx).generator("f32")
        remote = RemoteGenerator(graph, server, deadline_s=deadline_s)
    except Exception:
        local.close()
        raise
    return RemoteWithLocal(local, remote)
