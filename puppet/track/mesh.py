"""What a face-mesh library has to offer; the two MediaPipe generations implement it."""

from __future__ import annotations

from typing import Protocol

from puppet.contract import Landmarks, Rgb


class Mesh(Protocol):
    """Finds faces in pictures. Used by one thread at a time."""

    name: str

    def find(self, rgb: Rgb, time_ns: int) -> list[Landmarks]:
        """The faces of one (H, W, 3) uint8 picture, at most as many as it was opened for.

        A mesh opened for video follows its faces from call to call; `time_ns` must not go back.
        """
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class MeshFactory(Protocol):
    """Opens meshes of one library."""

    def __call__(self, *, still: bool, max_faces: int, confidence: float) -> Mesh: ...
