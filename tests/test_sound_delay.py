"""The sound's delay, shown and set in OBS: against a real WebSocket server that shakes hands as
obs-websocket 5 does."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websockets", reason='pip install "webcam-puppet[studio]"')

from websockets.sync.server import ServerConnection, serve

from puppet.cli.main import main
from puppet.cli.sound import PASSWORD_VARIABLE
from puppet.contract import UserError
from puppet.output.obs import authentication, set_sound_delay

PASSWORD = "correct horse"


class Obs:
    """Inputs with their offsets, behind the protocol's hello, identify and requests."""

    def __init__(self, password: str | None = PASSWORD) -> None:
        self.password = password
        self.offsets = {"Mic/Aux": 0, "Desktop": 0}
        self.port = 0

    def talk(self, socket: ServerConnection) -> None:
        hello: dict[str, Any] = {"obsWebSocketVersion": "5.5.2", "rpcVersion": 1}
        if self.password is not None:
            hello["authentication"] = {"challenge": "c+/=", "salt": "s="}
        socket.send(json.dumps({"op": 0, "d": hello}))
        identify = json.loads(socket.recv())
        assert identify["op"] == 1
        assert identify["d"]["rpcVersion"] == 1
        if self.password is not None:
            secret = base64.b64encode(hashlib.sha256((self.password + "s=").encode()).digest())
            wanted = base64.b64encode(hashlib.sha256(secret + b"c+/=").digest()).decode()
            if identify["d"].get("authentication") != wanted:
                socket.close(4009, "Authentication failed.")
                return
        socket.send(json.dumps({"op": 2, "d": {"negotiatedRpcVersion": 1}}))
        for raw in socket:
            request = json.loads(raw)["d"]
            socket.send(json.dumps({"op": 5, "d": {"eventType": "SomethingElse"}}))
            socket.send(json.dumps({"op": 7, "d": self.answer(request)}))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        kind, data = request["requestType"], request["requestData"]
        answer = {"requestType": kind, "requestId": request["requestId"]}
        good = {"result": True, "code": 100}
        if kind == "GetInputList":
            inputs = [{"inputName": name} for name in self.offsets]
            return {**answer, "requestStatus": good, "responseData": {"inputs": inputs}}
        assert kind == "SetInputAudioSyncOffset"
        if data["inputName"] not in self.offsets:
            return {**answer, "requestStatus": {"result": False, "code": 600, "comment": "none"}}
        self.offsets[data["inputName"]] = data["inputAudioSyncOffset"]
        return {**answer, "requestStatus": good}


@contextmanager
def serving(talk: Callable[[ServerConnection], None]) -> Iterator[int]:
    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(5)


@pytest.fixture
def obs() -> Iterator[Obs]:
    program = Obs()
    with serving(program.talk) as program.port:
        yield program


def test_the_delay_is_set(obs: Obs) -> None:
    set_sound_delay("Mic/Aux", 87, password=PASSWORD, port=obs.port)
    assert obs.offsets == {"Mic/Aux": 87, "Desktop": 0}


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
    monkeypatch.setenv("PUPPET_HOME", str(tmp_path / "home"))
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
