"""The parts of the panel, its page in a real browser, and what it needs of the loop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")

from puppet.compose.settings import Background, ComposeSettings
from puppet.contract import Frame, Observation, Picture, UserError
from puppet.draw import draw_contours, picture_coordinates
from puppet.output import FanOut
from puppet.output.preview import PreviewSink
from puppet.pipeline.backstage import Backstage
from puppet.retarget.expressions import ATTACK_S, RELEASE_S, Gesture, express, presets
from puppet.retarget.openings import EYES, eye_openness, lip_gaps, mouth_width
from puppet.retarget.pose import fit_pose
from puppet.studio.errors import Forbidden
from puppet.studio.guard import Rules, token_of
from puppet.studio.pictures import PanelPictures, Window, contours_in, follow
from puppet.studio.server import web_files
from puppet.studio.source import SwitchableSource
from puppet.studio.taps import DriverTap, PanelSink
from tests.devtools import Browser, find_browser
from tests.faces import face
from tests.obs_peer import PASSWORD, Obs, serving
from tests.performing import Script, save_astronaut
from tests.studio_running import Running, running

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("home") / "puppet") as one:
        yield one


@pytest.fixture(autouse=True)
def home(up: Running) -> Path:
    """The data folder of the panel that runs through all these tests, not one for each."""
    return up.home


# Who may speak to it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "alone", "exposed"),
    [
        ("127.0.0.1:8790", True, True),
        ("localhost:8790", True, True),
        ("[::1]:8790", True, True),
        ("127.0.0.1:80", False, False),
        ("127.0.0.1", False, False),
        ("192.168.1.5:8790", False, True),
        ("[fe80::1]:8790", False, True),
        ("evil.example:8790", False, False),
        ("127.0.0.1.evil.example:8790", False, False),
        (None, False, False),
    ],
)
def test_hosts(host: str | None, alone: bool, exposed: bool) -> None:
    assert Rules(TOKEN, 8790).is_host(host) is alone
    assert Rules(TOKEN, 8790, exposed=True).is_host(host) is exposed


def test_tokens_come_in_a_header_or_a_sub_protocol() -> None:
    assert token_of({"authorization": f"Bearer {TOKEN}"}) == TOKEN
    assert token_of({"sec-websocket-protocol": f"puppet, token.{TOKEN}"}) == TOKEN
    assert token_of({"authorization": f"Basic {TOKEN}"}) is None
    rules = Rules(TOKEN, 8790)
    assert rules.is_token(TOKEN)
    assert not rules.is_token(TOKEN[:-1])
    assert not rules.is_token("")
    assert not rules.is_token(None)
    assert not rules.is_token("\u00e4")


def test_the_drivers_picture_stays_off_over_a_network() -> None:
    from puppet.pipeline.settings import LiveSettings
    from puppet.studio.control import Studio

    studio = Studio(LiveSettings(("anna",)), exposed=True)
    with pytest.raises(Forbidden, match="network"):
        studio.show_driver_picture(True)
    assert not studio.driver.show_picture


def test_the_microphone_stays_off_over_a_network() -> None:
    from puppet.pipeline.settings import LiveSettings
    from puppet.studio.control import Studio

    studio = Studio(LiveSettings(("anna",)), exposed=True)
    studio.run = FakeRun()  # type: ignore[assignment]
    assert studio.microphones() == []
    with pytest.raises(Forbidden, match="microphone"):
        studio.record(True, microphone="default")
    assert studio.recorder.name is None


class FakeRun:
    """A run that has begun, as far as a recording asks."""

    fan_out = FanOut(64, 64, 30.0)


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for path, (content, _) in web_files().items():
        text = content.decode()
        assert "https://" not in text, path
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), path
        assert "style=" not in text, f"{path}: the content policy forbids inline styles"
        assert "onclick=" not in text, path


# Taps -------------------------------------------------------------------------------------------


def test_the_tap_keeps_no_picture_unless_switched_on() -> None:
    tap = DriverTap()
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 1, 0)
    seen = Observation(face(), 1, 0)
    tap.note(seen, frame)
    assert tap.newest == (1, seen, None)
    tap.show_picture = True
    tap.note(seen, frame)
    assert tap.newest[2] is frame.rgb
    tap.show_picture = False
    assert tap.newest == (3, seen, None), "another one: nobody goes on showing the picture"


def test_each_picture_is_encoded_once_for_all_viewers() -> None:
    panel, tap = PanelSink(), DriverTap()
    pictures = PanelPictures(panel, tap)
    assert pictures.portrait() is None
    assert pictures.driver() is None
    rgb = np.zeros((720, 1280, 3), np.uint8)
    panel.send(Picture(rgb, time.perf_counter_ns(), 0))
    first = pictures.portrait()
    assert first is not None
    assert pictures.portrait() is first
    panel.send(Picture(rgb, time.perf_counter_ns(), 1))
    second = pictures.portrait()
    assert second is not None
    assert second[0] == first[0] + 1


def test_what_was_encoded_with_the_drivers_picture_is_not_sent_again() -> None:
    """Also when the camera is silent from then on."""
    tap = DriverTap()
    pictures = PanelPictures(PanelSink(), tap)
    tap.show_picture = True
    tap.note(Observation(face(), 1, 0), Frame(np.full((512, 512, 3), 200, np.uint8), 1, 0))
    before = pictures.driver()
    tap.show_picture = False
    after = pictures.driver()
    assert before is not None
    assert after is not None
    assert after[0] > before[0]
    shown = [cv2.imdecode(np.frombuffer(x[1], np.uint8), 1).mean() for x in (before, after)]
    assert shown[0] > 100 > 40 > shown[1]


def test_the_window_follows_the_face_slowly_and_keeps_it_inside() -> None:
    still = follow(None, face())
    moved = follow(still, face(centre=(300.0, 230.0)))
    assert still.x < moved.x < still.x + 10
    lines = contours_in(face(), still)
    rows, columns = np.nonzero(lines.max(axis=2))
    assert lines.shape == (256, 256, 3)
    assert rows.min() > 40
    assert rows.max() < 216
    assert columns.min() > 40
    assert columns.max() < 216
    whole = Window(0, 0, 512)
    shown = contours_in(face(mouth_open=0.2), whole)
    drawn = draw_contours(picture_coordinates(face(mouth_open=0.2)))
    assert np.mean((shown.max(axis=2) > 40) == (drawn.max(axis=2) > 40)) > 0.995
    for channel in range(3):  # lines, eyes and mouth: bright enough to be seen on black
        alone = (drawn[..., channel] > 200) & (np.delete(drawn, channel, 2).max(axis=2) == 0)
        assert alone.any()
        assert shown[alone].max(axis=1).min() > 190


def test_a_source_is_exchanged_while_it_is_read() -> None:
    heard: list[Observation] = []
    first, second = Script([face()] * 100, 0.01), Script([face(), face()], 0.01)
    second.name = "second"
    source = SwitchableSource(first, heard.append)
    before = source.read(1.0)
    source.switch(second)
    after = source.read(1.0)
    assert before is not None
    assert after is not None
    assert source.name == "second"
    assert after.index > before.index
    assert first.read(1.0) is None  # it was closed
    assert source.read(1.0) is not None
    assert source.read(1.0) is None  # the second one's end is the end
    assert len(heard) == 3


# Expressions ------------------------------------------------------------------------------------


def head(points: np.ndarray) -> np.ndarray:
    return np.asarray(fit_pose(points).to_head(points))


def test_a_wink_closes_one_eye_whatever_the_head_does() -> None:
    for turn in ((0.0, 0.0, 0.0), (0.2, -0.3, 0.1)):
        winking = head(express(face(turn=turn), "wink", 1.0).points)
        right, left = (eye_openness(winking, eye) for eye in EYES)
        assert left < 0.02
        assert right > 0.9 * eye_openness(head(face(turn=turn).points), EYES[0])


def test_smile_lifts_the_corners_and_surprise_opens_the_mouth() -> None:
    rest = head(face().points)
    smile = head(express(face(), "smile", 1.0).points)
    assert smile[61, 1] < rest[61, 1] - 0.04
    assert smile[291, 1] < rest[291, 1] - 0.04
    assert mouth_width(smile) > mouth_width(rest)
    surprise = head(express(face(), "surprise", 1.0).points)
    assert lip_gaps(surprise).max() > 0.15 * mouth_width(surprise)
    assert surprise[105, 1] < rest[105, 1] - 0.04


@pytest.mark.parametrize("name", list(presets()))
def test_expressions_grow_from_nothing_and_keep_the_head_where_it_is(name: str) -> None:
    resting = face(turn=(0.1, 0.2, 0.0))
    assert express(resting, name, 0.0) is resting
    little = np.abs(express(resting, name, 0.01).points - resting.points).max()
    much = np.abs(express(resting, name, 1.0).points - resting.points).max()
    assert little < 0.5 < 4 < much
    before, after = fit_pose(resting.points), fit_pose(express(resting, name, 1.0).points)
    assert np.allclose(before.translation, after.translation, atol=2.0)
    with pytest.raises(KeyError):
        express(resting, "rage", 1.0)


def test_a_gesture_comes_holds_and_goes_smoothly() -> None:
    second = 1_000_000_000
    gesture = Gesture("smile", 0, second)
    levels = [gesture.level(int(t * 1e9)) for t in np.arange(0, 1.5, 0.01)]
    assert levels[0] == 0
    assert max(levels) == 1
    assert levels[-1] == 0
    assert np.abs(np.diff(levels)).max() < 0.15
    assert gesture.level(int(ATTACK_S * 1e9)) == 1
    assert not gesture.is_over(second)
    assert gesture.is_over(second + int(RELEASE_S * 1.01e9))
    assert Gesture("smile", 0).level(60 * second) == 1
    assert Gesture("smile", 0).let_go(5).ends_ns == 5


# Scenes -----------------------------------------------------------------------------------------


def test_the_newest_scene_that_was_asked_for_wins(up: Running) -> None:
    role = up.studio.run._parts.cast.current
    backstage = Backstage()
    small, large = ComposeSettings(), ComposeSettings(size=(1280, 720))
    blurred = ComposeSettings(size=(1280, 720), background=Background("blur"))
    for settings in (small, large, blurred):
        backstage.ask(role, settings)
    deadline = time.monotonic() + 20
    scene = None
    while scene is None and time.monotonic() < deadline:
        scene = backstage.take()
        time.sleep(0.01)
    assert scene is not None
    assert scene.settings is blurred
    time.sleep(0.3)
    assert backstage.take() is None


def test_a_switch_of_avatar_fades(up: Running) -> None:
    other = "demo" if up.state()["avatar"] == "astronaut" else "astronaut"
    up.studio.switch_avatar(other)
    up.until(lambda s: s["avatar"] == other)
    time.sleep(1.5)  # any earlier fade is over
    assert up.studio.panel.newest is not None
    seen: list[np.ndarray] = []
    up.studio.switch_avatar("demo" if other == "astronaut" else "astronaut")
    deadline = time.monotonic() + 20
    last, after = -1, 0
    while time.monotonic() < deadline and after < 15:  # until the fade lies well behind
        number, picture = up.studio.panel.newest
        if number != last:
            last = number
            seen.append(picture.rgb[:60, :60].astype(float).mean(axis=(0, 1)))
            after += bool(np.abs(seen[-1] - seen[0]).sum() > 10)
        time.sleep(0.005)
    ways = [float(np.abs(shade - seen[0]).sum()) for shade in seen]
    assert max(ways) > 10  # the corner of the other picture is another
    between = [way for way in ways if 0.1 * max(ways) < way < 0.9 * max(ways)]
    assert between  # neither the one nor the other: faded


def test_a_preview_opened_from_the_panel_ends_alone(
    up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreviewSink, "open", lambda *_: None)  # no display needed
    monkeypatch.setattr(PreviewSink, "send", lambda *_: None)
    up.studio.mirror(True)
    up.studio.switch_sink("preview", True)
    (preview,) = (s for s in up.studio.run.fan_out.sinks if isinstance(s, PreviewSink))
    assert preview.mirror
    up.studio._press("m")
    up.until(lambda s: not s["mirror"])
    deadline = time.monotonic() + 20
    while preview.mirror:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    up.studio._press("q")
    assert "preview" not in up.studio.run.fan_out.names
    up.goes_on()


def test_settings_that_make_no_sense_are_refused(up: Running) -> None:
    with pytest.raises(UserError, match="countdown"):
        up.studio.recalibrate(99)
    with pytest.raises(UserError, match="choose"):
        up.studio.express("rage", 1.0, 1.0)


# The page in a browser --------------------------------------------------------------------------

READY = (
    "document.querySelectorAll('.tile').length >= 3 && "
    "document.querySelectorAll('.stagerow').length > 5"
)


@pytest.fixture(scope="module")
def page(up: Running) -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip("no Chromium here (apt-get install chromium, or set PUPPET_TEST_BROWSER)")
    with Browser() as browser:
        browser.look(1280, 900)
        browser.open(up.server.url)
        browser.wait_for(READY)
        yield browser


def pixels(page: Browser, canvas: str) -> list[int]:
    """Mean colour of the middle of a canvas."""
    script = f"""(() => {{ const c = document.getElementById('{canvas}');
        const d = c.getContext('2d').getImageData(c.width / 4, c.height / 4, c.width / 2,
          c.height / 2).data; let s = [0, 0, 0];
        for (let i = 0; i < d.length; i += 4) for (let k = 0; k < 3; k++) s[k] += d[i + k];
        return s.map((v) => Math.round(v / (d.length / 4))); }})()"""
    return list(page.run(script))


def test_the_page_shows_both_live_pictures_and_hides_the_token(page: Browser, up: Running) -> None:
    page.wait_for("document.getElementById('chips').textContent.includes('fps')")
    deadline = time.monotonic() + 20
    while max(pixels(page, "portrait")) < 20 or max(pixels(page, "driver")) < 1:
        assert time.monotonic() < deadline
    assert "token" not in page.run("location.href")
    assert page.run("sessionStorage.getItem('puppet-token')") == up.server.token


def test_the_keyboard_steers_it(page: Browser, up: Running) -> None:
    page.run("document.activeElement.blur()")
    page.key("p")
    up.until(lambda s: s["panic"])
    page.wait_for("document.getElementById('panic').getAttribute('aria-pressed') === 'true'")
    page.key("p")
    up.until(lambda s: not s["panic"])
    page.key("1")
    up.until(lambda s: s["expressions"] == ["smile"])
    page.key("?")
    assert page.run("document.getElementById('help').open")
    page.run("document.getElementById('help').close()")


def test_a_slider_and_a_tile_reach_the_loop(page: Browser, up: Running) -> None:
    page.run(
        "(() => { const s = document.getElementById('slider-gaze'); s.value = 0.5; "
        "s.dispatchEvent(new Event('input')); })()"
    )
    up.until(lambda s: s["sliders"]["gaze"] == 0.5)
    other = page.run(
        "(() => { const t = document.querySelector('.tile[aria-pressed=false]'); t.click(); "
        "return t.querySelector('.name').textContent; })()"
    )
    up.until(lambda s: s["avatar"] == other)
    page.wait_for("document.querySelector('.tile[aria-pressed=true] .name').textContent === "
                  + json.dumps(other))  # fmt: skip


def test_a_dropped_picture_becomes_an_avatar_after_consent(
    page: Browser, up: Running, tmp_path: Path
) -> None:
    import base64

    data = base64.b64encode(save_astronaut(tmp_path / "a.png").read_bytes()).decode()
    page.run(
        f"""(() => {{ const bytes = Uint8Array.from(atob('{data}'), (c) => c.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], 'my <b>photo</b>.png', {{ type: 'image/png' }}));
        document.dispatchEvent(new DragEvent('drop', {{ dataTransfer: carried,
          bubbles: true, cancelable: true }})); }})()"""
    )
    page.wait_for("document.getElementById('create').open")
    name = page.run("document.getElementById('create-name').value")
    assert "<" not in name
    page.run("document.getElementById('create-name').value = 'dropped'")
    page.run("document.getElementById('create-form').requestSubmit()")
    assert page.run("document.getElementById('create').open")  # no consent, no avatar
    page.run("document.querySelector('[name=consent][value=public-domain]').click()")
    page.run("document.getElementById('create-form').requestSubmit()")
    page.wait_for("!document.getElementById('create').open", 40)
    up.until(lambda s: s["avatar"] == "dropped")


def test_the_delay_of_the_sound_is_set_in_obs(page: Browser, up: Running) -> None:
    up.until(lambda s: s["sound_delay_ms"] is not None)
    program = Obs()
    with serving(program.talk) as port:
        page.run(
            "(() => { document.getElementById('sound-open').click(); "
            f"document.getElementById('sound-password').value = '{PASSWORD}'; "
            f"document.getElementById('sound-port').value = {port}; "
            "document.getElementById('sound-form').requestSubmit(); })()"
        )
        page.wait_for("!document.getElementById('sound-dialog').open")
    assert program.offsets["Mic/Aux"] > 0
    assert program.offsets["Desktop"] == 0
    assert page.run("document.getElementById('sound-password').value") == ""


def test_every_control_has_a_name_and_nothing_overflows(page: Browser) -> None:
    nameless = page.run(
        """[...document.querySelectorAll('button, select, input:not([type=file])')].filter((e) =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || e.closest('label') ||
          e.labels?.length)).map((e) => e.id || e.outerHTML)"""
    )
    assert nameless == []
    for width in (360, 700, 1280):
        page.look(width, 800, dark=width == 700)
        time.sleep(0.2)
        assert page.run(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), width
    page.look(1280, 900)


def test_a_page_without_the_token_asks_for_it(page: Browser, up: Running) -> None:
    page.run("sessionStorage.clear()")
    page.open(up.base + "/")
    page.wait_for("document.getElementById('gate') && !document.getElementById('gate').hidden")
    assert page.run("document.getElementById('main').hidden")
    page.run(f"document.getElementById('gate-token').value = '{up.server.token}'")
    page.run("document.getElementById('gate-form').requestSubmit()")
    page.wait_for(READY)


def test_the_page_had_no_errors(page: Browser) -> None:
    page.run("1")
    assert page.errors == []
