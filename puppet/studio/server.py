"""The panel's server: a thread with an event loop beside the live loop."""

from __future__ import annotations

import errno
import re
import secrets
import socket
import sys
import threading
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from puppet.contract import UserError
from puppet.flow import Worker

if TYPE_CHECKING:
    from puppet.studio.control import Studio
    from puppet.studio.guard import App

DEFAULT_PORT = 8790
LOOPBACK = "127.0.0.1"
TOKEN_VARIABLE = "PUPPET_STUDIO_TOKEN"
MAX_CONNECTIONS = 48
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
_START_S = 20.0
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class StudioServer:
    """Serves the page and the API of one `Studio` until `close`."""

    def __init__(
        self,
        studio: Studio,
        *,
        port: int = DEFAULT_PORT,
        address: str = LOOPBACK,
        token: str | None = None,
    ) -> None:
        """Takes the port at once. `port` 0 is any free one; `token` None makes a random one.

        Raises UserError when the port is taken or a token is not fit to be one.
        """
        if token is not None and not _TOKEN.fullmatch(token):
            raise UserError(
                f"The token in {TOKEN_VARIABLE} must be 16 to 128 letters, digits, '-' or '_': it "
                "is part of an address."
            )
        self.token = token or secrets.token_urlsafe(24)
        self._socket = _listen(address, port)
        self.port: int = self._socket.getsockname()[1]
        self.address = address
        self._studio = studio
        self._server: Any = None
        self._ready = threading.Event()
        self._worker = Worker("studio", self._serve)

    @property
    def url(self) -> str:
        """The page, with the token behind the '#', where no server and no log sees it."""
        host = LOOPBACK if self.address in (LOOPBACK, "0.0.0.0", "::") else self.address
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/#token={self.token}"

    def start(self) -> StudioServer:
        """Raises UserError when the server's packages are missing."""
        import uvicorn

        from puppet.studio.patience import Impatient

        config = uvicorn.Config(
            self._make_app(),
            http=Impatient,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            limit_concurrency=MAX_CONNECTIONS,
            ws_max_size=4096,
            ws_per_message_deflate=False,
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._worker.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            self._worker.raise_if_failed()
            if time.monotonic() > deadline or not self._worker.alive:
                raise UserError("The panel's server did not start.")
            time.sleep(0.02)
        return self

    def close(self) -> None:
        """Idempotent; clients are disconnected."""
        if self._server is not None:
            self._server.should_exit = True
        self._worker.join(5.0)
        self._socket.close()
        self._studio.close()

    def _serve(self, stop: threading.Event) -> None:
        self._server.run(sockets=[self._socket])

    def _make_app(self) -> App:
        from starlette.responses import Response

        from puppet.studio.api import AVATARS_PATH, BACKGROUND_PATH, OPENAPI_PATH, make_api
        from puppet.studio.gallery import MAX_UPLOAD_BYTES
        from puppet.studio.guard import Guard, Rules
        from puppet.studio.sockets import Sockets

        app = make_api(self._studio)
        sockets = Sockets(self._studio)
        app.add_api_websocket_route("/api/events", sockets.events)
        app.add_api_websocket_route("/api/pictures", sockets.pictures)
        pages = web_files()

        def serve(path: str) -> None:
            content, kind = pages[path]

            async def page() -> Response:
                return Response(content, media_type=kind)

            app.add_api_route(path, page, include_in_schema=False)

        for path in pages:
            serve(path)
        rules = Rules(
            token=self.token,
            port=self.port,
            exposed=self._studio.exposed,
            open_paths=frozenset((*pages, OPENAPI_PATH)),
            upload_paths=frozenset((AVATARS_PATH, BACKGROUND_PATH)),
            max_upload=MAX_UPLOAD_BYTES,
        )
        return Guard(app, rules)


def web_files() -> dict[str, tuple[bytes, str]]:
    """Path -> (content, type) of the page's own files: these and no others are served."""
    found: dict[str, tuple[bytes, str]] = {}
    for file in (files("puppet.studio") / "web").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{file.name}"] = (file.read_bytes(), kind)
    found["/"] = found["/index.html"]
    found["/api"] = found["/api.html"]
    return found


def _listen(address: str, port: int) -> socket.socket:
    """A socket that has the port. Raises UserError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would share a taken port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES) or sys.platform == "win32":
            other = port + 1 if 1024 <= port < 65535 else DEFAULT_PORT + 1
            raise UserError(
                f"Port {port} is taken or not allowed. If a panel runs already, use that one; "
                f"else choose another port, for example --port {other}."
            ) from error
        raise UserError(f"The panel cannot listen on {address}: {error.strerror}.") from error
    return listening
