"""The control API on the real server over the real loop: what it does, and whom it refuses."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

pytest.importorskip("fastapi")

from puppet.capture import MeasuredSource, open_source
from puppet.capture.devices import CameraInfo
from puppet.contract import SoundPiece, SourceError, UserError
from puppet.pipeline.settings import LiveSettings
from puppet.studio import guard, patience
from puppet.studio.control import Studio
from puppet.studio.server import MAX_CONNECTIONS, StudioServer
from puppet.studio.sockets import DRIVER, MAX_CLIENTS, PORTRAIT
from tests.obs_peer import PASSWORD, Obs, serving
from tests.performing import astronaut, streams_of
from tests.studio_running import Running, next_message, running


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("home") / "puppet") as one:
        yield one


@pytest.fixture(autouse=True)
def home(up: Running) -> Path:
    """The data folder of the panel that runs through all these tests, not one for each."""
    return up.home


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG whose header says this size, whatever follows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data


def photo() -> bytes:
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    assert done
    return encoded.tobytes()


# What it does ---------------------------------------------------------------------------------


def test_state_tells_everything_the_panel_shows(up: Running) -> None:
    state = up.until(lambda s: s["tracked"] and s["fps"] > 0)
    assert state["avatar"] == "astronaut"
    assert state["camera"] == "demo"
    assert {s["name"] for s in state["sinks"]} == {"null", "panel"}
    assert [s["name"] for s in state["stages"]][:2] == ["capture", "track"]
    assert state["age"]["p50"] > 0
    assert state["runtime"]["runtime"]


def test_avatars_have_thumbnails_and_are_switched_with_an_event(up: Running) -> None:
    names = [a["id"] for a in up.call("GET", "/api/avatars").json()]
    assert names[:2] == ["astronaut", "demo"]
    jpeg = up.call("GET", "/api/avatars/demo/thumbnail")
    assert jpeg.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(jpeg.content, np.uint8), 1).shape[0] <= 160
    with up.socket("/api/events") as events:
        next_message(events, "state")
        assert up.post("/api/avatar", id="demo").status_code == 200
        assert "demo" in next_message(events, "avatar")["message"]
    up.until(lambda s: s["avatar"] == "demo")
    assert up.post("/api/avatar/next").status_code == 200
    up.until(lambda s: s["avatar"] == "astronaut")


def test_the_sound_delay_is_told_and_set_in_obs(up: Running) -> None:
    state = up.until(lambda s: s["sound_delay_ms"] is not None)
    late = next(s["age_p50"] for s in state["sinks"] if s["name"] == "null")
    assert abs(state["sound_delay_ms"] - late) <= 1, "of the output, not of the panel"
    program = Obs()
    with serving(program.talk) as port:
        wanted = {"obs_input": "Mic/Aux", "port": port}
        refused = up.post("/api/sound-delay", password="wrong", **wanted)
        assert refused.status_code == 422
        assert "password" in refused.json()["detail"]
        answer = up.post("/api/sound-delay", password=PASSWORD, **wanted)
    assert answer.status_code == 200, answer.text
    assert program.offsets["Mic/Aux"] == answer.json()["delay_ms"] > 0


def test_pause_and_panic_toggle_and_are_told(up: Running) -> None:
    up.post("/api/panic", on=True)
    up.until(lambda s: s["panic"])
    time.sleep(0.3)
    slate = up.studio.panel.newest
    assert slate is not None
    up.goes_on(3)
    still = up.studio.panel.newest
    assert still is not None
    assert np.array_equal(slate[1].rgb, still[1].rgb)  # the slate does not move
    up.post("/api/panic")
    up.until(lambda s: not s["panic"])
    up.post("/api/pause", on=True)
    up.until(lambda s: s["paused"])
    up.post("/api/pause", on=False)
    up.until(lambda s: not s["paused"])


def test_recalibration_counts_down_and_gives_a_score(up: Running) -> None:
    with up.socket("/api/events") as events:
        next_message(events, "state")
        assert up.post("/api/calibrate", countdown_s=0.4).status_code == 200
        next_message(events, "countdown")
        next_message(events, "calibrating")
        assert "fit" in next_message(events, "calibrated")["message"]
    assert 0 < up.state()["calibration"]["score"] <= 1


def test_sliders_change_only_what_is_given(up: Running) -> None:
    before = up.state()["sliders"]
    answer = up.call("PATCH", "/api/sliders", json={"mouth": 1.5, "absolute_pose": True})
    assert answer.status_code == 200
    after = up.until(lambda s: s["sliders"]["mouth"] == 1.5)["sliders"]
    assert after == {**before, "mouth": 1.5, "absolute_pose": True}
    up.call("PATCH", "/api/sliders", json={"mouth": 1.0, "absolute_pose": False})


def test_expressions_come_and_go(up: Running) -> None:
    assert "wink" in up.call("GET", "/api/expressions").json()
    assert up.post("/api/expression", name="wink", seconds=None).status_code == 200
    up.until(lambda s: s["expressions"] == ["wink"])
    assert up.post("/api/expression", name=None).status_code == 200
    up.until(lambda s: not s["expressions"])


def test_cameras_of_one_name_are_told_apart(up: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [CameraInfo(n, "HD Webcam", f"/dev/video{n}", False) for n in (0, 2)]
    opened: list[str | None] = []

    def open_twin(settings: LiveSettings, spec: str | None) -> MeasuredSource:
        opened.append(spec)
        source = open_source("demo", loop=True)
        if spec != "demo":
            monkeypatch.setattr(source, "name", "HD Webcam")
        return source

    monkeypatch.setattr("puppet.studio.control.list_cameras", lambda: twins)
    monkeypatch.setattr("puppet.studio.control.open_camera", open_twin)
    listed = up.call("GET", "/api/cameras").json()["cameras"]
    assert listed == ["HD Webcam (0)", "HD Webcam (2)", "demo"]
    for name in ("HD Webcam (2)", "HD Webcam (0)", "demo"):
        assert up.post("/api/camera", camera=name).status_code == 200
        up.until(lambda s, name=name: s["camera"] == name)
    assert opened == ["2", "0", "demo"]
    up.studio._camera = "HD Webcam (2)"  # as --camera may name it
    monkeypatch.setattr(twins_source := open_source("demo"), "name", "HD Webcam")
    assert up.studio._listed_name(twins_source) == "HD Webcam (2)"
    up.studio._camera = "demo"


def test_a_run_that_still_starts_asks_for_patience(tmp_path: Path) -> None:
    studio = Studio(LiveSettings((str(tmp_path),), sinks=()))
    with closing(StudioServer(studio, port=0).start()) as server:
        early = httpx.get(
            f"http://127.0.0.1:{server.port}/api/state",
            headers={"Authorization": f"Bearer {server.token}"},
        )
    assert early.status_code == 503
    assert early.headers["Retry-After"] == "1"
    assert "still starting" in early.json()["detail"]


def test_background_and_label_change_the_picture(up: Running) -> None:
    assert up.post("/api/background", kind="colour", colour="#ff00ff").status_code == 200
    state = up.until(lambda s: s["background"] == "colour")
    assert state["background_colour"] == "#ff00ff"  # for a panel that is opened later
    time.sleep(0.5)
    up.goes_on(3)
    newest = up.studio.panel.newest
    assert newest is not None
    assert np.abs(newest[1].rgb[4, 4].astype(int) - (255, 0, 255)).max() < 12
    picture = up.call("POST", "/api/background/picture", content=png(8, 8, bytes(8 * 25)))
    assert picture.status_code == 200, picture.text
    up.until(lambda s: s["background"] == "image")
    up.post("/api/background", kind="original")
    up.until(lambda s: s["background"] == "original")
    up.post("/api/label", size="large", corner="top-right")
    state = up.until(lambda s: s["label_corner"] == "top-right")
    assert state["label_size"] == "large"
    up.post("/api/label", size="medium", corner="bottom-left")


def test_outputs_go_on_and_off(up: Running) -> None:
    assert up.post("/api/sinks", sink="mjpeg:0", on=True).status_code == 200
    up.until(lambda s: any(k["name"] == "mjpeg:0" and k["sent"] > 2 for k in s["sinks"]))
    url = next(s["url"] for s in up.state()["sinks"] if s["name"] == "mjpeg:0")
    assert b"<img" in httpx.get(url).content
    again = up.post("/api/sinks", sink="mjpeg:0", on=True)
    assert (again.status_code, "on already" in again.text) == (409, True)
    assert up.post("/api/sinks", sink="mjpeg", on=False).status_code == 200
    assert {s["name"] for s in up.state()["sinks"]} == {"null", "panel"}
    assert up.post("/api/sinks", sink="mjpeg:0", on=False).status_code == 404
    assert up.post("/api/sinks", sink="file:/etc/passwd", on=True).status_code == 404
    assert up.post("/api/sinks", sink="panel", on=False).status_code == 422


def test_a_recording_shows_its_size_and_can_be_played(up: Running) -> None:
    started = up.post("/api/recording", on=True).json()
    assert started["on"]
    up.until(lambda s: s["recording"]["bytes"] > 0 and s["recording"]["seconds"] > 1)
    assert up.post("/api/recording", on=True).status_code == 409
    done = up.post("/api/recording", on=False).json()
    path = Path(done["folder"]) / done["file"]
    assert path.parent == up.home / "recordings"
    assert done["bytes"] == path.stat().st_size > 0
    assert streams_of(path) == ["video"]
    assert up.post("/api/recording", on=False).status_code == 409


def test_a_recording_takes_a_microphone_along(up: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from puppet.capture import microphone

    class Hum:
        """In the place of the device: one tone, on time."""

        name = "hum"

        def __init__(self, wanted: str) -> None:
            if wanted != "hum":
                raise SourceError(f"the microphone {wanted!r} is not there; there are: hum")
            self._heard_ns = 0

        def open(self) -> None:
            self._heard_ns = time.perf_counter_ns()

        def take(self) -> list[SoundPiece]:
            pieces, tone = [], np.sin(np.arange(480) / 8).astype(np.float32) / 2
            while self._heard_ns + 10_000_000 <= time.perf_counter_ns():
                pieces.append(SoundPiece(tone, self._heard_ns))
                self._heard_ns += 10_000_000
            return pieces

        def close(self) -> None:
            pass

    monkeypatch.setattr(microphone, "Microphone", Hum)
    refused = up.post("/api/recording", on=True, microphone="nobody")
    assert (refused.status_code, "there are: hum" in refused.text) == (409, True)
    assert up.post("/api/recording", on=True, microphone="hum").json()["on"]
    up.until(lambda s: s["recording"]["seconds"] > 1.5)
    done = up.post("/api/recording", on=False).json()
    assert sorted(streams_of(Path(done["folder"]) / done["file"])) == ["audio", "video"]


def test_a_full_disk_ends_the_recording_and_not_the_loop(
    up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from puppet.contract import SinkError
    from puppet.output import video

    def full(self: object, rgb: object, at_s: float) -> None:
        raise SinkError("the disk is full")

    up.post("/api/recording", on=True)
    up.until(lambda s: s["recording"]["bytes"] > 0)
    monkeypatch.setattr(video.VideoWriter, "add", full)
    broken = up.until(lambda s: s["recording"]["error"] is not None)["recording"]
    assert "full" in broken["error"]
    assert not broken["on"]
    up.goes_on()
    later = up.state()["recording"]
    assert later["seconds"] == broken["seconds"] > 0, "the recording does not grow any more"
    kept = Path(later["folder"]) / later["file"]
    assert later["bytes"] == kept.stat().st_size > 0, "what is told is the file that is there"
    assert up.post("/api/recording", on=False).status_code == 200


def test_a_recording_that_cannot_be_finished_says_so(up: Running) -> None:
    started = up.post("/api/recording", on=True).json()
    up.until(lambda s: s["recording"]["bytes"] > 0)
    shutil.rmtree(started["folder"])
    done = up.post("/api/recording", on=False).json()
    assert done["error"]
    assert done["bytes"] == 0


def test_cameras_are_chosen_by_name(up: Running) -> None:
    assert "demo" in up.call("GET", "/api/cameras").json()["cameras"]
    refused = up.post("/api/camera", camera="/etc/passwd")
    assert refused.status_code == 404
    assert up.post("/api/camera", camera="demo").status_code == 200
    up.goes_on()


def test_the_clip_it_began_with_can_be_chosen_again(up: Running, tmp_path: Path) -> None:
    """A clip goes by its file's name, which alone is no place to open."""
    settings = replace(up.studio.run.settings, camera=str(tmp_path / "own clip.mp4"))
    studio = Studio(settings)
    assert studio._camera_spec(settings.camera or "") == settings.camera
    studio._begun_with = "own clip.mp4"
    assert studio._camera_spec("own clip.mp4") == settings.camera


def test_an_upload_becomes_an_avatar_that_can_be_played(up: Running) -> None:
    query = {"name": "uploaded", "consent": "public-domain", "whose": "Eileen Collins"}
    made = up.call("POST", "/api/avatars", params=query, content=photo())
    assert made.status_code == 201, made.text
    assert (up.home / "avatars" / "uploaded.avatar" / "avatar.json").is_file()
    assert up.post("/api/avatar", id="uploaded").status_code == 200
    up.until(lambda s: s["avatar"] == "uploaded")
    taken = up.call("POST", "/api/avatars", params=query, content=photo())
    assert taken.status_code == 409
    up.post("/api/avatar", id="astronaut")
    up.until(lambda s: s["avatar"] == "astronaut")


# Whom and what it refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body", "status", "told"),
    [
        ("text", b"<svg onload=alert(1)>", 422, "not a picture"),
        ("empty", b"", 422, "not a picture"),
        ("huge", png(20_000, 10_000), 422, "20000 x 10000"),
        ("cut", photo()[:2000], 422, ""),
        ("noface", png(200, 200, bytes(200 * 601)), 422, "No face"),
        ("../../etc/evil", photo(), 422, "cannot be an avatar's name"),
        ("a/b", photo(), 422, "cannot be an avatar's name"),
        ("CON", photo(), 422, "cannot be an avatar's name"),
    ],
)
def test_hostile_uploads_get_a_sentence(
    up: Running, name: str, body: bytes, status: int, told: str
) -> None:
    before = sorted(p.name for p in (up.home / "avatars").iterdir())
    answer = up.call("POST", "/api/avatars", params={"name": name, "consent": "self"}, content=body)
    assert answer.status_code == status, answer.text
    assert told in answer.json()["detail"]
    assert "/tmp" not in answer.text
    assert "Traceback" not in answer.text
    assert sorted(p.name for p in (up.home / "avatars").iterdir()) == before


def test_an_avatar_needs_consent(up: Running) -> None:
    answer = up.call("POST", "/api/avatars", params={"name": "x"}, content=photo())
    assert answer.status_code == 422
    assert "consent" in answer.json()["detail"]


def test_bodies_are_bounded_whether_they_say_their_length_or_not(up: Running) -> None:
    said = up.call("POST", "/api/panic", content=b"x" * (guard.MAX_BODY_BYTES + 1))
    assert said.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * (1 << 20)

    query = {"name": "big", "consent": "self"}
    try:
        unsaid = up.call("POST", "/api/avatars", params=query, content=endless())
        assert unsaid.status_code == 413
    except (httpx.WriteError, httpx.ReadError):
        pass  # the server hung up on it: the answer was lost on the way
    assert "big" not in [a["id"] for a in up.call("GET", "/api/avatars").json()]
    up.goes_on(2)


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": ""}])
def test_without_the_token_nothing_is_told_or_done(up: Running, header: dict[str, str]) -> None:
    for method, path in (("GET", "/api/state"), ("POST", "/api/panic"), ("GET", "/api/avatars")):
        answer = httpx.request(method, up.base + path, headers=header)
        assert answer.status_code == 401
    assert not up.state()["panic"]
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{up.server.port}/api/events", additional_headers=header)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused_even_with_the_token(
    up: Running, header: dict[str, str]
) -> None:
    answer = up.call("POST", "/api/panic", headers=header, json={"on": True})
    assert answer.status_code == 403
    assert not up.state()["panic"]
    for path in ("/api/events", "/api/pictures"):
        with pytest.raises(InvalidStatus):
            up.socket(path, **header)


def test_the_own_page_may(up: Running) -> None:
    own = {"Origin": up.base, "Sec-Fetch-Site": "same-origin"}
    assert up.call("GET", "/api/state", headers=own).status_code == 200
    protocols = ["puppet", f"token.{up.server.token}"]
    address = f"ws://127.0.0.1:{up.server.port}/api/events"
    with connect(address, subprotocols=protocols, origin=up.base) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "puppet"
        next_message(socket, "state")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "[::1]", ""]
)
def test_rebound_names_are_refused(up: Running, host: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", up.server.port, timeout=10)
    for path in ("/", "/api/state", "/api/openapi.json"):
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host.format(port=up.server.port))
        connection.putheader("Authorization", f"Bearer {up.server.token}")
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 421
        answer.read()
        connection.close()


def test_only_the_pages_own_files_are_served(up: Running) -> None:
    page = httpx.get(up.base + "/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    for path in ("/../server.py", "/%2e%2e/server.py", "/web/../server.py", "/etc/passwd"):
        assert httpx.get(up.base + path).status_code in (401, 404)
        assert up.call("GET", path).status_code == 404


def test_openapi_names_every_action(up: Running) -> None:
    paths = httpx.get(up.base + "/api/openapi.json").json()["paths"]
    wanted = "avatar avatars calibrate pause panic expression sliders background label mirror sinks"
    assert {f"/api/{name}" for name in wanted.split()} <= set(paths)
    assert httpx.get(up.base + "/api").status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/avatar", {"id": "../../../etc"}),
        ("/api/avatar", {"id": "/etc"}),
        ("/api/sliders", {"mouth": 9}),
        ("/api/sliders", {"unknown": 1}),
        ("/api/background", {"kind": "image"}),
        ("/api/background", {"kind": "colour", "colour": "red; x"}),
        ("/api/label", {"corner": "outside"}),
        ("/api/expression", {"name": "rage"}),
        ("/api/calibrate", {"countdown_s": 1e9}),
        ("/api/recording", {"on": True, "format": "../x"}),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    up: Running, path: str, body: dict[str, object]
) -> None:
    method = "PATCH" if path.endswith("sliders") else "POST"
    answer = up.call(method, path, json=body)
    assert answer.status_code in (404, 422)
    assert isinstance(answer.json()["detail"], str)


def test_not_a_number_does_not_reach_the_loop(up: Running) -> None:
    answer = up.call("PATCH", "/api/sliders", content=b'{"mouth": NaN}')
    assert answer.status_code == 422
    up.goes_on(2)


# Viewers ----------------------------------------------------------------------------------------


def test_two_viewers_see_both_pictures(up: Running) -> None:
    with up.socket("/api/pictures") as one, up.socket("/api/pictures") as two:
        for viewer in (one, two):
            viewer.send(json.dumps({"fps": 20, "want": ["portrait", "driver"]}))
            kinds = {}
            for _ in range(2):
                message = viewer.recv(timeout=20)
                assert isinstance(message, bytes)
                kinds[message[0]] = cv2.imdecode(np.frombuffer(message[1:], np.uint8), 1)
            assert kinds[PORTRAIT].shape == (512, 512, 3)
            assert kinds[DRIVER].shape == (256, 256, 3)
            assert (kinds[DRIVER].max(axis=2) < 40).mean() > 0.7  # lines on black, no picture


def test_the_drivers_picture_is_shown_only_when_switched_on(up: Running) -> None:
    with up.socket("/api/pictures") as viewer:

        def seen() -> float:
            """The share of the driver's window that is not black."""
            viewer.send(json.dumps({"fps": 20, "want": ["driver"]}))
            message = viewer.recv(timeout=20)
            assert isinstance(message, bytes)
            picture = cv2.imdecode(np.frombuffer(message[1:], np.uint8), 1)
            return float((picture.max(axis=2) > 40).mean())

        assert seen() < 0.3
        assert up.post("/api/driver-picture", on=True).status_code == 200
        deadline = time.monotonic() + 20
        while seen() < 0.5:
            assert time.monotonic() < deadline
        assert up.post("/api/driver-picture", on=False).status_code == 200
        seen()
        assert up.studio.driver.newest is not None
        assert up.studio.driver.newest[2] is None
        assert seen() < 0.3


def test_a_stalled_viewer_stalls_neither_the_loop_nor_others(up: Running) -> None:
    """One asks and never takes, one never asks; a third is served all the same."""
    with up.socket("/api/pictures") as greedy, up.socket("/api/pictures"):
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(30):
            greedy.send("{}")
        up.goes_on(10)
        with up.socket("/api/pictures") as good:
            good.send("{}")
            assert good.recv(timeout=20)
        assert next(s for s in up.state()["sinks"] if s["name"] == "panel")["error"] is None


def test_viewers_are_bounded_and_leave_their_place(up: Running) -> None:
    crowd = [up.socket("/api/events") for _ in range(MAX_CLIENTS)]
    for viewer in crowd:
        next_message(viewer, "state")
    with pytest.raises((ConnectionClosed, InvalidStatus)), up.socket("/api/events") as one_more:
        one_more.recv(timeout=10)
    for viewer in crowd:
        viewer.close()
    deadline = time.monotonic() + 20
    while True:
        try:
            with up.socket("/api/events") as late:
                next_message(late, "state")
            return
        except (ConnectionClosed, InvalidStatus):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("message", ["[]", "{", '{"fps": "fast"}', '{"want": 3}', "x" * 1000])
def test_a_viewer_that_talks_nonsense_is_let_go(up: Running, message: str) -> None:
    with up.socket("/api/pictures") as viewer:
        viewer.send(message)
        with pytest.raises(ConnectionClosed):
            viewer.recv(timeout=20)
    up.goes_on(2)


def test_viewers_that_want_nothing_leave_their_place(up: Running) -> None:
    for _ in range(MAX_CLIENTS + 1):
        with up.socket("/api/pictures") as viewer:
            viewer.send(json.dumps({"want": []}))
            time.sleep(0.05)
    deadline = time.monotonic() + 20
    while True:
        try:
            with up.socket("/api/pictures") as late:
                late.send("{}")
                assert late.recv(timeout=10)
            return
        except (ConnectionClosed, InvalidStatus):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_silent_connections_do_not_keep_panic_out(
    up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_REQUEST_S", 0.3)
    address = ("127.0.0.1", up.server.port)
    crowd = [socket.create_connection(address, timeout=20) for _ in range(MAX_CONNECTIONS + 12)]
    for number, silent in enumerate(crowd):
        if number % 2:
            silent.sendall(b"GET / HT")  # begins, and goes no further
    for silent in crowd:
        assert silent.recv(1) == b"", "let go"
        silent.close()
    assert up.post("/api/pause", on=False).status_code == 200
    with up.socket("/api/events") as listener:  # taken over in time, it may be silent for long
        next_message(listener, "state")
        time.sleep(0.6)
        next_message(listener, "state")


def test_panic_does_not_wait_for_slow_devices(up: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many callers as the server has threads wait for cameras that do not answer."""
    answer = threading.Event()

    def hang() -> list[object]:
        answer.wait(30)
        return []

    monkeypatch.setattr(up.studio, "cameras", hang)
    with ThreadPoolExecutor(44) as callers:
        waiting = [callers.submit(up.call, "GET", "/api/cameras") for _ in range(44)]
        time.sleep(1.0)
        try:
            began = time.monotonic()
            assert up.post("/api/panic", on=True).status_code == 200
            up.until(lambda s: s["panic"])
            assert time.monotonic() - began < 10
            assert not any(w.done() for w in waiting)
        finally:
            answer.set()
        assert {w.result().status_code for w in waiting} == {200}
    up.post("/api/panic", on=False)
    up.until(lambda s: not s["panic"])


def test_load_on_loopback_is_answered_and_the_loop_goes_on(up: Running) -> None:
    """240 calls from six clients at once: each is answered, none is lost, the loop goes on."""
    begin = up.state()["frames_out"]

    def hammer(client: int) -> list[int]:
        with httpx.Client(base_url=up.base, headers=up.bearer, timeout=60) as line:
            answers = []
            for call in range(40):
                if call % 2:
                    body = {"mouth": 0.5 + call / 40}
                    answers.append(line.patch("/api/sliders", json=body).status_code)
                else:
                    answers.append(line.get("/api/state").status_code)
        return answers

    with ThreadPoolExecutor(6) as pool:
        answers = [code for codes in pool.map(hammer, range(6)) for code in codes]
    assert len(answers) == 240
    assert set(answers) <= {200, 503}  # 503: the loop's queue was full, and that was said
    assert answers.count(200) > 200
    up.call("PATCH", "/api/sliders", json={"mouth": 1.0})
    up.until(lambda s: s["sliders"]["mouth"] == 1.0 and s["frames_out"] > begin)


# The port and the network -----------------------------------------------------------------------


def test_a_taken_port_is_said(up: Running) -> None:
    with pytest.raises(UserError, match=f"Port {up.server.port} is taken.*--port"):
        StudioServer(up.studio, port=up.server.port)


def test_the_command_says_that_the_port_is_taken(up: Running) -> None:
    command = ["studio", "--no-browser", "--camera", "demo", "--avatar", "demo"]
    done = subprocess.run(
        [sys.executable, "-m", "puppet.cli.main", *command, "--port", str(up.server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "is taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("token", ["secret", "with+signs/that=addresses+change", "ä" * 20])
def test_a_token_that_is_none_is_refused(up: Running, token: str) -> None:
    with pytest.raises(UserError, match="16 to 128 letters"):
        StudioServer(up.studio, port=0, token=token)


def test_only_loopback_listens_unless_asked(up: Running) -> None:
    assert up.server._socket.getsockname()[0] == "127.0.0.1"


def test_tokens_differ_and_stay_behind_the_hash(up: Running) -> None:
    other = StudioServer(up.studio, port=0)
    other._socket.close()
    assert len(other.token) >= 32
    assert other.token != up.server.token
    assert f"/#token={up.server.token}" in up.server.url
