"""The benchmark of the loop: what it reports, not how quick this machine is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.loop import main


def test_the_loop_is_measured_beside_its_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.loop.FRAMES", 8)
    out = tmp_path / "loop.json"
    main(["--seconds", "1", "--fps", "30", "--tier", "coarse", "--json", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == result
    assert result["runtime"]["tier"] == "coarse"
    assert result["sinks"][0]["sent"] == result["frames_out"] > 5
    floor, age = result["floor_ms"]["p50"], result["age_ms"]["p50"]
    assert floor > 0
    assert result["above_floor_ms"] == pytest.approx(age - floor, abs=0.01)
    assert result["environment"]["versions"]["mediapipe"]
