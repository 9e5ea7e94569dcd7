"""What the project promises about its own shape: layers, light imports, README, help pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEAVY = ("cv2", "mediapipe", "torch", "av", "openvino", "onnxruntime", "onnx", "pyvirtualcam")


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


def loaded_after(code: str) -> set[str]:
    """Top-level packages in sys.modules after `code` ran in a fresh interpreter."""
    report = "\nimport sys; print('LOADED', *{m.split('.')[0] for m in sys.modules})"
    done = run_python(code + report)
    assert done.returncode == 0, done.stderr
    line = next(x for x in done.stdout.splitlines() if x.startswith("LOADED"))
    return set(line.split()[1:])


HELP_PAGE = """
import contextlib, io
from puppet.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main({arguments!r})
    except SystemExit as end:
        assert end.code == 0, end.code
"""


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    if not linter.exists():
        pytest.skip("import-linter is not installed here (pip install '.[dev]')")
    done = subprocess.run(
        [str(linter)], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["puppet", "engines", "calibrate"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert not loaded_after(f"import {package}") & {*HEAVY, "numpy", "typer", "rich"}


@pytest.mark.parametrize(
    "command",
    [(), ("run",), ("render",), ("demo",), ("avatar",), ("devices",), ("doctor",), ("studio",)],
)
def test_help_loads_no_heavy_package(command: tuple[str, ...]) -> None:
    loaded = loaded_after(HELP_PAGE.format(arguments=[*command, "--help"]))
    assert not loaded & set(HEAVY)
    assert "typer" in loaded  # it did run


def test_the_live_loop_needs_no_training_framework() -> None:
    loaded = loaded_after("import puppet.pipeline.live, puppet.pipeline.offline")
    assert "torch" not in loaded
    assert "calibrate" not in loaded


def readme_commands() -> list[str]:
    """The newcomer's commands: the fenced blocks that can be pasted into a shell."""
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)]


def test_what_trains_loads_triton_before_anything_draws(tmp_path: Path) -> None:
    """Triton after Mesa's LLVM, which MediaPipe loads, ends the process without a word."""
    (tmp_path / "triton.py").write_text("", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import calibrate.triton_first"
    assert "triton" in loaded_after(code)
    assert (
        "MODULE True"
        in run_python(
            "import sys, calibrate.tune\nprint('MODULE', 'calibrate.triton_first' in sys.modules)"
        ).stdout
    )


def test_readme_has_exactly_the_two_commands_of_a_newcomer() -> None:
    try_it, test_it = readme_commands()
    assert "puppet demo" in try_it
    assert "pytest" in test_it
    assert '".[dev]"' in test_it
    for command in (try_it, test_it):
        assert len(command.splitlines()) == 1
        done = subprocess.run(["bash", "-n", "-c", command], check=False, timeout=10)
        assert done.returncode == 0


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert targets
    missing = [t for t in targets if not (ROOT / t).exists()]
    assert not missing


def known_options(command: str) -> set[str]:
    """Long options and sub-commands of `puppet command`, from its definition."""
    import typer

    from puppet.cli.main import build

    group = typer.main.get_command(build())
    found = group.get_command(None, command)  # type: ignore[attr-defined]
    assert found is not None, f"the README names 'puppet {command}', which there is not"
    names: set[str] = set(getattr(found, "commands", ()))
    parts = [found, *getattr(found, "commands", {}).values()]
    for part in parts:
        for parameter in part.params:
            names |= {*parameter.opts, *parameter.secondary_opts}
    return names


def test_readme_names_only_commands_and_options_that_exist() -> None:
    lines = re.findall(r"^(?:.*?/)?puppet ([a-z-]+)((?: [^#\n`]*)?)", README, re.M)
    assert len(lines) >= 6
    for command, rest in lines:
        options = set(re.findall(r"(?<=\s)(--?[a-z][a-z-]*)", rest))
        assert options <= known_options(command), (command, options)
    table = re.findall(r"^\| `(--[^|]+) \|", README, re.M)
    promised = {o for row in table for o in re.findall(r"--[a-z-]+", row)}
    assert len(promised) >= 8
    assert promised <= known_options("run")


def test_python_versions_of_readme_and_package_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.10,<3.15"' in project
    assert "Python 3.10 to 3.12" in README
    assert "3.13 and 3.14" in README
