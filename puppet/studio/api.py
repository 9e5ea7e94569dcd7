"""The control API over HTTP. Every route is one call of `Studio`.

Routes that only hand something to the loop, or tell how it does, are coroutines: they run on the
server's own thread, are never behind a camera that is being opened (panic must not wait), and many
callers do not become many threads that take turns with the loop. Those that touch the disk, a
device or another program get a thread.

This module does not postpone annotations: FastAPI reads them.
"""

import logging
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Annotated, Any, Literal

import anyio
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from engines.contract import EngineError
from puppet.avatar.consent import Consent
from puppet.compose.settings import Background
from puppet.contract import PuppetError, SinkError, SourceError, UserError
from puppet.pipeline.live import NotStarted
from puppet.retarget.expressions import presets
from puppet.studio import models as m
from puppet.studio.control import Studio
from puppet.studio.errors import Busy, Conflict, Forbidden, NotFound, TooLarge
from puppet.studio.uploads import read_background

log = logging.getLogger(__name__)

AVATARS_PATH = "/api/avatars"
BACKGROUND_PATH = "/api/background/picture"
OPENAPI_PATH = "/api/openapi.json"
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Busy, 503),
    (NotStarted, 503),
    (Forbidden, 403),
    (TooLarge, 413),
    (SinkError, 409),
    (SourceError, 409),
    (UserError, 422),
)
_ABOUT = """Steers a running puppet. Send the token that `puppet studio` prints:

    curl -H "Authorization: Bearer TOKEN" -H "Content-Type: application/json" \\
         -d '{"on": true}' http://127.0.0.1:8790/api/panic

`/api/events` is a WebSocket that sends the state once a second and every event as it happens;
connect with the sub-protocols `puppet` and `token.TOKEN`, or with the same header.
"""
_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "token missing or wrong"},
    403: {"description": "from a page of another site, or not allowed"},
    413: {"description": "too large"},
    421: {"description": "wrong host name"},
}


def make_api(studio: Studio) -> FastAPI:
    """The application, without its guard."""
    app = FastAPI(
        title="webcam-puppet control API",
        version=metadata.version("webcam-puppet"),
        description=_ABOUT,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; ours is in web/
        redoc_url=None,
        openapi_url=OPENAPI_PATH,
        responses=_ANSWERS,
    )
    app.exception_handler(PuppetError)(_answer_error)
    app.exception_handler(EngineError)(_answer_error)
    app.exception_handler(RequestValidationError)(_answer_invalid)
    for add in (_add_state, _add_avatars, _add_driver, _add_picture, _add_outputs):
        add(app, studio)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    later = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"detail": str(error)}, status, headers=later)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """One sentence instead of a list of objects."""
    assert isinstance(error, RequestValidationError)
    told = [
        f"{'.'.join(str(part) for part in e['loc'][1:]) or 'body'}: {e['msg']}"
        for e in error.errors()[:5]
    ]
    return JSONResponse({"detail": "; ".join(told)}, 422)


def _add_state(app: FastAPI, studio: Studio) -> None:
    @app.get("/api/state", tags=["state"])
    async def state() -> m.State:
        """Everything at once."""
        return m.state_of(studio)

    @app.post("/api/quit", tags=["state"])
    async def quit_() -> m.Done:
        """Ends the run; recordings are finished."""
        studio.run.stop()
        return m.Done()


def _add_avatars(app: FastAPI, studio: Studio) -> None:
    @app.get(AVATARS_PATH, tags=["avatars"])
    def avatars() -> list[m.AvatarInfo]:
        """Those of the run first."""
        return [
            m.AvatarInfo(id=e.id, consent=e.consent, whose=e.whose, error=e.error)
            for e in studio.gallery.entries()
        ]

    @app.get(
        AVATARS_PATH + "/{id}/thumbnail",
        tags=["avatars"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
    )
    def thumbnail(id: str) -> Response:
        """A small JPEG."""
        return Response(studio.gallery.thumbnail(id), media_type="image/jpeg")

    @app.post(AVATARS_PATH, tags=["avatars"], status_code=201)
    async def create(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=64)],
        consent: Annotated[Literal["self", "written", "synthetic", "public-domain"], Query()],
        whose: Annotated[str, Query(max_length=200)] = "",
        face: Annotated[int | None, Query(ge=1, le=50)] = None,
    ) -> m.AvatarInfo:
        """Makes an avatar; the body is the picture (JPEG, PNG, WebP or BMP). Takes seconds."""
        picture = await request.body()
        basis = Consent(consent, whose=whose)
        made: Callable[[], str] = partial(studio.create_avatar, picture, name, basis, face)
        id_ = await anyio.to_thread.run_sync(made)
        return m.AvatarInfo(id=id_, consent=consent, whose=whose, error=None)

    @app.post("/api/avatar", tags=["avatars"])
    def switch(body: m.WantAvatar) -> m.Done:
        """Another avatar, with a short fade."""
        studio.switch_avatar(body.id)
        return m.Done()

    @app.post("/api/avatar/next", tags=["avatars"])
    async def following() -> m.Done:
        """The next avatar of the run."""
        studio.next_avatar()
        return m.Done()


def _add_driver(app: FastAPI, studio: Studio) -> None:
    @app.post("/api/calibrate", tags=["driver"])
    def calibrate(body: m.Calibrate) -> m.Done:
        """Takes your neutral face anew after a countdown; `calibrated` tells the fit."""
        studio.recalibrate(body.countdown_s)
        return m.Done()

    @app.get("/api/expressions", tags=["driver"])
    async def expressions() -> list[str]:
        """What /api/expression takes."""
        return list(presets())

    @app.post("/api/expression", tags=["driver"])
    async def expression(body: m.WantExpression) -> m.Done:
        """An expression over what you do: for hot-keys."""
        studio.express(body.name, body.seconds, body.strength)
        return m.Done()

    @app.patch("/api/sliders", tags=["driver"])
    async def sliders(body: m.Sliders) -> m.Done:
        """Strengths and smoothing."""
        changes = body.model_dump(exclude_none=True)
        if changes:
            studio.adjust(changes)
        return m.Done()

    @app.get("/api/cameras", tags=["driver"])
    def cameras() -> m.Cameras:
        """Real cameras by name, and the demo clip."""
        return m.Cameras(current=studio.camera_choice, cameras=[*studio.cameras(), "demo"])

    @app.post("/api/camera", tags=["driver"])
    def camera(body: m.WantCamera) -> m.Done:
        """Another camera; you are calibrated anew."""
        studio.switch_camera(body.camera)
        return m.Done()

    @app.post("/api/driver-picture", tags=["driver"])
    async def driver_picture(body: m.OnOff) -> m.Done:
        """Your own picture under the landmarks, in the panel only; never over a network."""
        studio.show_driver_picture(body.on)
        return m.Done()


def _add_picture(app: FastAPI, studio: Studio) -> None:
    @app.post("/api/pause", tags=["picture"])
    async def pause(body: m.Switch) -> m.Done:
        """The portrait rests and blinks."""
        studio.pause(body.on)
        return m.Done()

    @app.post("/api/panic", tags=["picture"])
    async def panic(body: m.Switch) -> m.Done:
        """The slate on every output, at once."""
        studio.panic(body.on)
        return m.Done()

    @app.post("/api/background", tags=["picture"])
    async def background(body: m.WantBackground) -> m.Done:
        """Original, a colour, blurred or transparent."""
        red, green, blue = bytes.fromhex(body.colour[1:])
        if body.kind == "image":
            raise UserError(f"Send the picture itself to {BACKGROUND_PATH}.")
        studio.set_background(
            Background(body.kind, colour=(red, green, blue), strength=body.strength)
        )
        return m.Done()

    one_at_a_time = anyio.CapacityLimiter(1)  # each may take some hundred megabytes

    @app.post(BACKGROUND_PATH, tags=["picture"])
    async def background_picture(request: Request) -> m.Done:
        """The body is a picture to stand behind the person."""
        body = await request.body()
        image = await anyio.to_thread.run_sync(read_background, body, limiter=one_at_a_time)
        studio.set_background(Background("image", image=image))
        return m.Done()

    @app.post("/api/label", tags=["picture"])
    async def label(body: m.WantLabel) -> m.Done:
        """The visible AI label: its size and corner. It cannot be switched off here."""
        studio.set_label(body.size, body.corner)
        return m.Done()

    @app.post("/api/mirror", tags=["picture"])
    async def mirror(body: m.Switch) -> m.Done:
        """Mirrors the previews, and only them."""
        studio.mirror(body.on)
        return m.Done()


def _add_outputs(app: FastAPI, studio: Studio) -> None:
    @app.post("/api/sinks", tags=["outputs"])
    def sinks(body: m.WantSink) -> m.Done:
        """An output on or off."""
        studio.switch_sink(body.sink, body.on)
        return m.Done()

    @app.post("/api/sound-delay", tags=["outputs"])
    def sound_delay(body: m.WantSoundDelay) -> m.SoundDelay:
        """Sets the measured delay of the picture in OBS on this machine, for one sound input."""
        return m.SoundDelay(delay_ms=studio.delay_sound(body.obs_input, body.password, body.port))

    @app.get("/api/microphones", tags=["outputs"])
    def microphones() -> list[str]:
        """What a recording can take along; the system's choice first."""
        return studio.microphones()

    @app.post("/api/recording", tags=["outputs"])
    def recording(body: m.WantRecording) -> m.Recording:
        """Starts or finishes a recording in your videos' folder."""
        now = studio.record(body.on, body.format, body.microphone)
        return m.Recording(**{name: getattr(now, name) for name in m.Recording.model_fields})
