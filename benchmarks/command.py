"""What the benchmarks' command lines share: the clip, the avatar, the generator, the result."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from puppet.capture.demo import demo_clip
from puppet.pipeline.demo import demo_avatar
from puppet.pipeline.report import write_json


def clip_parser(about: str) -> argparse.ArgumentParser:
    """Options of a benchmark that plays a clip through an avatar; `clip_of`, `avatar_of`."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--camera", type=Path, default=None, help="default: the demo clip")
    parser.add_argument("--avatar", default=None, help="default: the demo avatar")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--json", type=Path, default=None)
    return parser


def clip_of(wanted: argparse.Namespace) -> Path:
    return wanted.camera or demo_clip()


def avatar_of(wanted: argparse.Namespace) -> str:
    return wanted.avatar or str(demo_avatar())


def give(result: dict[str, Any], file: Path | None) -> None:
    """Prints the result, and writes it where that is wanted. Raises UserError."""
    if file is not None:
        write_json(file, result)
    json.dump(result, sys.stdout, indent=2)
    print()
