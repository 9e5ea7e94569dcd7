"""Built engines on disk: found by everything they depend on, checked before use, bounded.

Each entry is a file of bytes and, beside it, a readable JSON with its key and hash. An entry
whose bytes do not have that hash (cut off, half written, bit rot) counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

CACHE_FOLDER_VARIABLE = "PUPPET_CACHE"
DEFAULT_MAX_BYTES = 2 * 2**30
LOCK_TIMEOUT_S = 180.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Everything a cached file depends on; a change of any of it is another file."""

    graph_sha256: str
    kind: str
    """What is cached: 'engine', 'jit', 'reference'."""
    module: str
    version: str
    """Exact version of the module that made it; engines do not outlive an update."""
    targets: tuple[str, ...] = ()
    """GPU architectures it was built for, or that of the GPU it was built on."""
    precision: str = ""
    shapes: str = ""

    @property
    def digest(self) -> str:
        """The file's name."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def default_cache_folder() -> Path:
    """Where engines are kept: $PUPPET_CACHE, or the user's cache folder."""
    chosen = os.environ.get(CACHE_FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("webcam-puppet", appauthor=False) / "engines"


class EngineCache:
    """A folder of cached files, shared by processes. A read-only folder only costs time."""

    def __init__(self, folder: Path | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = folder if folder is not None else default_cache_folder()
        self._max_bytes = max_bytes

    def get_or_build(self, key: CacheKey, build: Callable[[], bytes]) -> bytes:
        """The cached bytes, or else what build() returns, stored for the next time.

        Of two processes that ask at once, one builds and the other waits for it.
        """
        found = self.load(key)
        if found is not None:
            return found
        with self._locked(key):
            found = self.load(key)
            if found is None:
                found = build()
                self.store(key, found)
        return found

    def load(self, key: CacheKey) -> bytes | None:
        """The bytes of an entry, or None if absent or damaged."""
        path = self._path(key)
        try:
            sidecar = json.loads(path.with_suffix(".json").read_bytes())
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("Cached file %s cannot be read (%s); it is made again.", path, error)
            return None
        intact = isinstance(sidecar, dict) and sidecar.get("sha256") == _sha256(data)
        if not intact or sidecar.get("key") != _readable(key):
            _log.warning("Cached file %s is damaged; it is made again.", path)
            return None
        with suppress(OSError):  # a read-only cache only loses its order of use
            os.utime(path)
        return data

    def store(self, key: CacheKey, data: bytes) -> None:
        """Keeps an entry, as far as the folder can be written; then drops the least used."""
        path = self._path(key)
        sidecar = {"key": _readable(key), "sha256": _sha256(data), "bytes": len(data)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, data)
            _write(path.with_suffix(".json"), json.dumps(sidecar, indent=1).encode())
            self._prune(keep=path)
        except OSError as error:
            _log.warning(
                "The cache folder %s cannot be written (%s): engines are built at every start. "
                "Set %s to a folder that can.",
                self.folder,
                error,
                CACHE_FOLDER_VARIABLE,
            )

    def discard(self, key: CacheKey) -> None:
        """Forgets an entry that turned out wrong."""
        for path in (self._path(key).with_suffix(".json"), self._path(key)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("Cached file %s cannot be removed: %s", path, error)

    def _path(self, key: CacheKey) -> Path:
        return self.folder / f"{key.kind}-{key.digest}.bin"

    @contextmanager
    def _locked(self, key: CacheKey) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self._path(key).with_suffix(".lock"), timeout=LOCK_TIMEOUT_S)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError, Timeout) as error:
            # Two builders at once only waste time: files are replaced whole.
            _log.warning("Building without a lock in %s: %s", self.folder, error)
        try:
            yield
        finally:
            lock.release()

    def _prune(self, keep: Path) -> None:
        stale = time.time() - LOCK_TIMEOUT_S
        for pattern in ("*.part", "*.lock"):  # of processes that were killed
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    if path.stat().st_mtime < stale:
                        path.unlink()
        entries = []
        for path in self.folder.glob("*.bin"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process pruned it
            entries.append((status.st_mtime_ns, status.st_size, path))
        entries.sort()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self._max_bytes:
                return
            if path != keep:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                total -= size


def _write(path: Path, data: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except OSError:
        os.unlink(beside)
        raise


def _readable(key: CacheKey) -> dict[str, object]:
    return {**asdict(key), "targets": list(key.targets)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
