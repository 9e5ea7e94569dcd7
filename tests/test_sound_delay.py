"""The sound's delay, shown and set in OBS: against a real WebSocket server that shakes hands as
obs-websocket 5 does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason='pip install "webcam-puppet[studio]"')

from obsws_python import ReqClient
from obsws_python.error import OBSSDKRequestError

from puppet.cli.main import main
from puppet.cli.sound import PASSWORD_VARIABLE
from puppet.contract import UserError
from puppet.output.obs import authentication, set_sound_delay
from tests.obs_peer import PASSWORD, Obs, serving


@pytest.fixture
def obs() -> Iterator[Obs]:
    program = Obs()
    with serving(program.talk) as program.port:
        yield program


def test_the_delay_is_set(obs: Obs) -> None:
    set_sound_delay("Mic/Aux", 87, password=PASSWORD, port=obs.port)
    assert obs.offsets == {"Mic/Aux": 87, "Desktop": 0}


def test_a_client_made_for_obs_is_content_with_the_stand_in() -> None:
    """OBS itself is in `test_obs.py`, where it is installed. That the stand-in speaks as OBS does
    is vouched for by a client that others wrote for OBS."""
    program = Obs(subscribed=False)
    with serving(program.talk) as port:
        client = ReqClient(host="127.0.0.1", port=port, password=PASSWORD, timeout=5)
        client.set_input_audio_sync_offset("Mic/Aux", 87)
        assert [i["inputName"] for i in client.get_input_list(None).inputs] == [*program.offsets]
        with pytest.raises(OBSSDKRequestError, match="600"):
            client.set_input_audio_sync_offset("Nobody", 87)
        client.disconnect()
    assert program.offsets["Mic/Aux"] == 87


def test_without_a_password() -> None:
    program = Obs(password=None)
    with serving(program.talk) as port:
        set_sound_delay("Desktop", 40, password=None, port=port)
    assert program.offsets["Desktop"] == 40


def test_the_answer_to_the_challenge() -> None:
    """By hand: base64(sha256(base64(sha256(password + salt)) + challenge))."""
    inner = base64.b64encode(hashlib.sha256(b"pw" + b"salt").digest())
    outer = base64.b64encode(hashlib.sha256(inner + b"challenge").digest()).decode()
    assert authentication("pw", "salt", "challenge") == outer


@pytest.mark.parametrize(
    ("password", "said"), [("wrong", "refuses the password"), (None, "asks for a password")]
)
def test_a_wrong_or_missing_password_is_said(obs: Obs, password: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        set_sound_delay("Mic/Aux", 87, password=password, port=obs.port)
    assert obs.offsets["Mic/Aux"] == 0


def test_an_unknown_input_lists_those_there_are(obs: Obs) -> None:
    with pytest.raises(UserError, match="it has: Mic/Aux, Desktop"):
        set_sound_delay("Micro", 87, password=PASSWORD, port=obs.port)


@pytest.mark.parametrize(
    "said", ["hello", "[]", '{"op": 0}', '{"op": 0, "d": {"authentication": 7}}', "[" * 20_000]
)
def test_something_else_that_answers_is_said(said: str) -> None:
    refused = pytest.raises(UserError, match=r"does not speak as OBS|ended the connection")
    with serving(lambda socket: socket.send(said)) as port, refused:
        set_sound_delay("Mic/Aux", 87, password=PASSWORD, port=port)


def test_no_obs_is_said() -> None:
    with serving(lambda socket: None) as port:
        pass
    with pytest.raises(UserError, match="start OBS"):
        set_sound_delay("Mic/Aux", 87, password=PASSWORD, port=port)


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as end:
        main(["sound-delay", *arguments])
    return end.value.code or 0


def test_the_command(
    obs: Obs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"age_ms": {"p50": 62.4}}))
    port = ("--obs-port", str(obs.port))
    assert run("--report", str(report), "--obs-input", "Mic/Aux", *port) == 0
    assert obs.offsets["Mic/Aux"] == 62
    assert "62 ms late" in capsys.readouterr().out
    assert run("--ms", "30") == 0
    assert run() != 0
    for bad in ("", "[]", '{"age_ms": {"p50": NaN}}', '{"age_ms": {"p50": "x"}}'):
        report.write_text(bad)
        assert run("--report", str(report)) != 0
    assert PASSWORD not in "".join(capsys.readouterr())
