"""The ASGI application: its paths, its threads, and one form for everything that goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import health, metrics, notify, task_status, tasks
from app.api.dependencies import start
from app.errors import (
    AppError,
    BadRequest,
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    RequestTooLarge,
)
from app.logs import ALIVE_INTERVAL_SECONDS
from app.settings import ApiSettings

log = structlog.get_logger()

# nginx refuses large bodies first; this is for when it is not in front.
_BODY_MAX_BYTES = 64 * 1024
_NAMED = {404: NotFound, 405: MethodNotAllowed, 413: RequestTooLarge}


def create_app(settings: ApiSettings) -> FastAPI:
    """Starts nothing by itself; the server's start-up does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = start(settings)
        saying = asyncio.create_task(say_alive())
        yield
        saying.cancel()
        app.state.runtime.close()

    app = FastAPI(
        title="Steadfast",
        version=settings.release,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(notify.router(settings.message_max_characters))
    app.include_router(task_status.router)
    app.include_router(tasks.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.exception_handler(AppError)(_on_app_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(RequestValidationError)(_on_invalid_input)
    app.add_middleware(_Edge, release=settings.release)
    return app


async def say_alive() -> None:
    """A line a minute, from within the loop that answers requests."""
    while True:
        log.info("api.alive")
        await asyncio.sleep(ALIVE_INTERVAL_SECONDS)


def _answer(error: AppError, headers: dict[str, str] | None = None) -> JSONResponse:
    body: dict[str, Any] = {"error": error.name, "message": str(error)}
    if error.fields is not None:
        body["fields"] = error.fields
    # A moment later the answer may be another.
    headers = {"Cache-Control": "no-store"} | error.headers | (headers or {})
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return JSONResponse(body, status_code=error.status, headers=headers)


async def _on_app_error(_: Request, error: AppError) -> JSONResponse:
    return _answer(error)


async def _on_http_exception(_: Request, error: HTTPException) -> JSONResponse:
    """What the framework refuses by itself."""
    if error.status_code == 400:  # a body that json could not even begin to read: too deep, not UTF-8
        return _answer(InvalidInput(fields=[{"field": "body", "message": "must be well-formed JSON"}]))
    return _answer(_NAMED.get(error.status_code, BadRequest)(), dict(error.headers or {}))


async def _on_invalid_input(_: Request, error: RequestValidationError) -> JSONResponse:
    """Names each field, and repeats nothing of what came in."""
    fields = []
    for problem in error.errors():
        malformed = problem["type"] == "json_invalid"
        path = [] if malformed else [str(part) for part in problem["loc"][1:]]
        message = "must be well-formed JSON" if malformed else problem["msg"].removeprefix("Value error, ")
        fields.append({"field": ".".join(path)[:100] or "body", "message": message})
    return _answer(InvalidInput(fields=fields))


class _Edge:
    """Says which release answered, stops reading a body that is too large, and shows nothing of a bug."""

    def __init__(self, app: ASGIApp, *, release: str) -> None:
        self._app = app
        self._header = (b"x-release", release.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, started = 0, False

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > _BODY_MAX_BYTES:
                raise HTTPException(413)
            return message

        async def signed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), self._header]
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > _BODY_MAX_BYTES:
            await _answer(RequestTooLarge(), {"Connection": "close"})(scope, receive, signed)
            return
        try:
            await self._app(scope, limited, signed)
        except Exception:
            log.exception("request.failed", method=scope["method"], path=scope["path"][:200])
            if started:
                raise
            await _answer(InternalError())(scope, receive, signed)
