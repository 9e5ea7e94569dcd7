"""A real panel for tests: real server on a free loopback port, real loop on the demo clip."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from puppet.pipeline.settings import LiveSettings, Look
from puppet.studio.control import Studio
from puppet.studio.server import StudioServer
from tests.performing import QUICK, make_avatar


@dataclass
class Running:
    """A panel that is up."""

    studio: Studio
    server: StudioServer
    home: Path
    failed: list[BaseException] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.token}"}

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.bearer, **options.pop("headers", {})}
        return httpx.request(method, self.base + path, headers=headers, timeout=60, **options)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.call("POST", path, json=body)

    def state(self) -> dict[str, Any]:
        answer = self.call("GET", "/api/state")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def until(self, ready: Callable[[dict[str, Any]], bool], timeout_s: float = 30) -> Any:
        """The first state that is as wanted."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = self.state()
            if ready(state):
                return state
            time.sleep(0.05)
        raise AssertionError(f"never came: {state}")

    def goes_on(self, pictures: int = 5) -> None:
        """The loop still makes pictures."""
        begin = self.state()["frames_out"]
        self.until(lambda s: s["frames_out"] >= begin + pictures)

    def socket(self, path: str, **headers: str) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.server.port}{path}",
            additional_headers={**self.bearer, **headers},
            open_timeout=20,
            close_timeout=1,
            compression=None,
        )


@contextlib.contextmanager
def running(home: Path) -> Iterator[Running]:
    """Two avatars, the demo clip as camera, a null sink; PUPPET_HOME is `home`."""
    before = os.environ.get("PUPPET_HOME")
    os.environ["PUPPET_HOME"] = str(home)
    (home / "avatars").mkdir(parents=True)
    first = make_avatar(home / "avatars")
    from puppet.pipeline.demo import demo_avatar

    settings = LiveSettings(
        (str(first), str(demo_avatar())),
        camera="demo",
        sinks=("null",),
        use_profile=False,
        look=Look(engine=QUICK),
    )
    studio = Studio(settings, recordings=home / "recordings")
    server = StudioServer(studio, port=0).start()
    up = Running(studio, server, home)

    def play() -> None:
        try:
            studio.run.run()
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            up.failed.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        wait_for_pictures(up, thread)
        yield up
    finally:
        studio.run.stop()
        thread.join(20)
        server.close()
        if before is None:
            del os.environ["PUPPET_HOME"]
        else:
            os.environ["PUPPET_HOME"] = before
    assert not thread.is_alive()
    assert not up.failed


def wait_for_pictures(up: Running, thread: threading.Thread) -> None:
    deadline = time.monotonic() + 60
    while up.studio.panel.newest is None:
        assert thread.is_alive(), up.failed
        assert time.monotonic() < deadline
        time.sleep(0.05)


def next_message(socket: ClientConnection, kind: str, timeout_s: float = 20) -> dict[str, Any]:
    """The next message of a type, or the next event of a kind."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        message = json.loads(socket.recv(timeout=timeout_s))
        if kind in (message["type"], message.get("kind")):
            return dict(message)
    raise AssertionError(f"no {kind} came")
