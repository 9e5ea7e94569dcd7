"""`puppet doctor`: what this machine can do, and how to mend what it cannot."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check this machine: cameras, virtual camera, runtimes, models, video; with remedies.

    At the end test pictures are written into the virtual camera and read back: it counts as
    working only if they arrive. Whoever looks at it just then sees them for a moment.

    Ends with exit code 1 when something that everything needs is missing; a missing camera or
    virtual camera is only a warning.
    """
    from rich.markup import escape

    from puppet.cli.checks import run_checks
    from puppet.cli.finding import FAIL, WARN
    from puppet.pipeline.environment import machine, versions

    checks = run_checks()
    failed = any(check.status == FAIL for check in checks)
    if as_json:
        content = {
            "ok": not failed,
            "checks": [asdict(check) for check in checks],
            "machine": machine(),
            "versions": versions(),
        }
        print(json.dumps(content, indent=2))
        raise typer.Exit(1 if failed else 0)

    from puppet.cli.show import console

    out = console()
    colours = {"ok": "green", "note": "dim", "warn": "yellow", "fail": "bold red"}
    for check in checks:
        mark = f"[{colours[check.status]}]{check.status:<4}[/]"
        out.print(f"{mark} {check.name}: {escape(check.found)}", soft_wrap=True)
        if check.remedy:
            out.print(f"       -> {escape(check.remedy)}", soft_wrap=True)
    here = machine()
    out.print(_summary(failed, sum(check.status == WARN for check in checks)))
    out.print(f"[dim]{here['cpu']}, {here['cores']} cores, {here['system']}[/dim]")
    raise typer.Exit(1 if failed else 0)


def _summary(failed: bool, warnings: int) -> str:
    if failed:
        return "Something that everything needs is missing: see 'fail' above."
    if warnings:
        return f"Portraits can be driven here. What does not work yet: see 'warn' ({warnings})."
    return "Everything works here."
