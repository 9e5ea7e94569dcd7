"""`puppet sound-delay`: how far the sound must be held back so that lips and voice agree."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated

import typer

PASSWORD_VARIABLE = "OBS_WEBSOCKET_PASSWORD"
_LARGEST_REPORT = 8 << 20


def sound_delay(
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="What 'puppet run --report' wrote.", show_default=False
        ),
    ] = None,
    ms: Annotated[
        int | None,
        typer.Option(min=0, max=20_000, help="Or the delay itself.", show_default=False),
    ] = None,
    obs_input: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Set it in OBS, for the sound input of this name, such as 'Mic/Aux'.",
            show_default=False,
        ),
    ] = None,
    obs_host: Annotated[str, typer.Option(help="Where OBS runs.")] = "127.0.0.1",
    obs_port: Annotated[int, typer.Option(min=1, max=65_535, help="Of its WebSocket.")] = 4455,
) -> None:
    """Show by how much the sound must be delayed to fit the picture; set it in OBS.

    The password of OBS's WebSocket server (Tools > WebSocket Server Settings) is read from the
    environment variable OBS_WEBSOCKET_PASSWORD.
    """
    from puppet.contract import UserError

    if (report is None) == (ms is None):
        raise UserError("Give either --report FILE.json or --ms N.")
    delay = ms if ms is not None else delay_of(report)  # type: ignore[arg-type]
    typer.echo(
        f"The picture is {delay} ms late. In OBS: Advanced Audio Properties, Sync Offset of your "
        f"microphone: {delay} ms."
    )
    if obs_input is None:
        return
    from puppet.output.obs import set_sound_delay

    password = os.environ.get(PASSWORD_VARIABLE)
    set_sound_delay(obs_input, delay, password=password, host=obs_host, port=obs_port)
    typer.echo(f"OBS holds {obs_input} back by {delay} ms now.")


def delay_of(report: Path) -> int:
    """The middle age of the pictures of a run in ms. Raises UserError."""
    from puppet.contract import UserError

    try:
        if report.stat().st_size > _LARGEST_REPORT:
            raise UserError(f"{report} is too large to be a report.")
        middle = json.loads(report.read_text("utf-8"))["age_ms"]["p50"]
    except OSError as error:
        raise UserError(f"{report} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{report} is no report of 'puppet run --report'.") from error
    if (
        not isinstance(middle, int | float)
        or not math.isfinite(middle)
        or not 0 <= middle <= 20_000
    ):
        raise UserError(f"{report} holds no measured delay: was it a live run?")
    return round(middle)
