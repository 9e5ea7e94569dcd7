"""`puppet avatar`: make, list, look at and remove avatars."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Make, list, look at and remove avatars.", rich_markup_mode="rich"
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name ('puppet avatar list') or folder.")
]


@app.command()
def create(
    photo: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="A photo, painting or drawing with a face.")
    ],
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="What to call it.")],
    consent: Annotated[
        str | None,
        typer.Option(
            metavar="BASIS",
            help="What allows you to use this face: self (it is you), written (the person agreed "
            "in writing), synthetic (nobody's face), public-domain (an old work).",
            show_default=False,
        ),
    ] = None,
    whose: Annotated[
        str, typer.Option(metavar="WHO", help="Whose face it is, in your words.")
    ] = "",
    face: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="Which face, from left to right, if several.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an avatar of this name.")] = False,
) -> None:
    """Make an avatar of a picture; takes a few seconds.

    The best picture shows head and shoulders, looks towards the viewer, with the mouth closed.
    """
    from puppet.avatar.bundle import save_avatar
    from puppet.avatar.consent import Consent, require_consent
    from puppet.avatar.create import create_avatar
    from puppet.cli.show import console

    out = console()
    record = require_consent(None if consent is None else Consent(consent, whose=whose))
    with out.status("starting") as status:
        avatar = create_avatar(photo, name, record, face=face, on_step=status.update)
        folder = save_avatar(avatar, overwrite=force)
    out.print(f"{folder} is ready. Try it:")
    out.print(f"  puppet render --avatar {_quoted(name)} --driver demo -o {_quoted(name + '.mp4')}")


@app.command(name="list")
def list_() -> None:
    """List your avatars."""
    from rich.markup import escape
    from rich.table import Table

    from puppet.avatar.bundle import load_avatar
    from puppet.avatar.store import avatars_dir, list_avatars
    from puppet.cli.show import console
    from puppet.contract import BundleError

    out = console()
    names = list_avatars()
    if not names:
        out.print(f"There are no avatars yet in {avatars_dir()}.")
        out.print("Make one: puppet avatar create photo.jpg --name NAME --consent self")
        return
    table = Table()
    for column in ("name", "consent", "picture", ""):
        table.add_column(column)
    for name in names:
        try:
            avatar = load_avatar(name)
        except BundleError as error:
            table.add_row(name, "-", "-", f"[red]{escape(str(error))}[/red]")
            continue
        height, width = avatar.picture.shape[:2]
        whose = escape(avatar.consent.whose or "")
        table.add_row(name, avatar.consent.basis, f"{width}x{height}", whose)
    out.print(table)


@app.command()
def show(name: NameArgument) -> None:
    """Show what an avatar is made of, whose face it is and on what basis."""
    from rich.markup import escape
    from rich.table import Table

    from puppet.avatar.bundle import load_avatar
    from puppet.cli.show import console

    avatar = load_avatar(name)
    height, width = avatar.picture.shape[:2]
    table = Table(show_header=False)
    rows = {
        "name": avatar.name,
        "folder": str(avatar.folder),
        "picture": f"{width}x{height}",
        "face": f"{avatar.crop.side:.0f} pixels around it are animated",
        "consent": avatar.consent.basis,
        "whose face": avatar.consent.whose or "-",
        "consent recorded": avatar.consent.date,
        "picture's hash": avatar.consent.picture_sha256,
        **avatar.meta,
    }
    for key, value in rows.items():
        table.add_row(key, escape(value))
    console().print(table)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name ('puppet avatar list').")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an avatar, with its picture and its consent record."""
    from puppet.avatar.store import SUFFIX, avatars_dir, check_name, list_avatars
    from puppet.contract import UserError

    if name not in list_avatars():
        known = ", ".join(list_avatars()) or "none"
        raise UserError(f"There is no avatar '{name}' of yours. There are: {known}.")
    folder = avatars_dir() / f"{check_name(name)}{SUFFIX}"
    if not yes:
        typer.confirm(f"Delete {folder}?", abort=True)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
    typer.echo(f"{folder} is deleted.")


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text
