"""How results look on a terminal: the latency table, events, progress bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from puppet.flow import Percentiles
    from puppet.pipeline.events import Event
    from puppet.pipeline.report import Report

STAGE_NOTES = {
    "capture": "waiting for the newest frame",
    "track": "find the face's 478 points",
    "retarget": "from your face to the portrait's",
    "draw": "points to landmark image",
    "generate": "landmark image to portrait",
    "compose": "background, label",
    "send": "to the slowest output",
}
OFFLINE_NOTES = {"capture": "decode a frame", "send": "encode the picture"}

SHOWN = frozenset(
    {
        "output",
        "calibrating",
        "calibrated",
        "avatar",
        "paused",
        "resumed",
        "panic",
        "panic-over",
        "face-lost",
        "source-back",
        "picture-back",
        "runtime",
        "slow",
        "label",
    }
)
"""Kinds of event that a person wants to see; the quiet ones are for programs."""


def console() -> Console:
    """Standard output; without colours where it is not a terminal."""
    return Console(highlight=False)


def show_event(out: Console, event: Event) -> None:
    from puppet.pipeline.events import WARNINGS

    if event.kind in WARNINGS:
        out.print(f"[yellow]![/yellow] {escape(event.message)}", soft_wrap=True)
    elif event.kind in SHOWN:
        out.print(f"[dim]-[/dim] {escape(event.message)}", soft_wrap=True)


def show_keys(out: Console, lines: Sequence[str]) -> None:
    """The keys of a run; each line is a key, a tab and what it does."""
    for line in lines:
        key, what = line.split("\t")
        out.print(f"  [bold]{escape(key):>5}[/bold]  {escape(what)}", soft_wrap=True)


def show_report(out: Console, report: Report) -> None:
    """The latency table and what the run was made with."""
    notes = STAGE_NOTES if report.age_ms.count else STAGE_NOTES | OFFLINE_NOTES
    table = Table(title="Milliseconds per picture", title_justify="left")
    table.add_column("stage")
    for column in ("p50", "p95", "p99", "max"):
        table.add_column(column, justify="right")
    table.add_column("what it does", style="dim")
    for name, times in report.stages_ms.items():
        if times.count:
            table.add_row(name, *_figures(times), notes.get(name, ""))
    if report.age_ms.count:
        table.add_section()
        table.add_row(
            "[bold]age[/bold]", *_figures(report.age_ms), "from capture until the output had it"
        )
    out.print(table)
    width, height = report.size
    out.print(
        f"{report.frames_out} picture{'s' if report.frames_out != 1 else ''} of {width}x{height} "
        f"in {report.seconds:.1f} s "
        f"({report.fps:.1f} per second), {sum(report.dropped.values())} dropped{_where(report)}, "
        f"{report.face_lost_frames} without a face",
        soft_wrap=True,
    )
    if report.age_ms.count:
        out.print(
            f"sound: delay your microphone by {report.age_ms.p50:.0f} ms to fit the picture "
            "(OBS: Sync Offset; 'puppet sound-delay' sets it there)",
            soft_wrap=True,
        )
    runtime = report.runtime
    out.print(
        f"generator: {runtime.get('tier', '?')} on {runtime.get('runtime', '?')} "
        f"{runtime.get('version', '')}, {runtime.get('device', '')}, "
        f"{runtime.get('precision', '')}",
        soft_wrap=True,
    )
    for warning in report.warnings:  # said when it happened too, but that has scrolled away
        out.print(f"[yellow]![/yellow] {escape(warning)}", soft_wrap=True)


def show_result(out: Console, result: Report, report: Path | None) -> None:
    """What a run ends with: the table, and where its figures are (written here) if wanted."""
    from puppet.pipeline.report import write_json

    show_report(out, result)
    if report is not None:
        write_json(report, result.as_dict())
        out.print(f"The figures are in {report.resolve()}", soft_wrap=True)


def progress_bar(out: Console) -> Progress:
    """For long work; on something that is no terminal only the end is printed."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=out,
        disable=not out.is_terminal,
    )


def _figures(times: Percentiles) -> tuple[str, ...]:
    values = (times.p50, times.p95, times.p99, times.max)
    return tuple("-" if math.isnan(v) else f"{v:.1f}" for v in values)


def _where(report: Report) -> str:
    places = [f"{name} {count}" for name, count in report.dropped.items() if count]
    return f" ({', '.join(places)})" if places else ""
