"""GET /health: this process answers. GET /health/ready: the release can work, asked in bounded time."""

import time
from concurrent.futures import ThreadPoolExecutor

import redis
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import Connection, text

from app.api.dependencies import Given
from app.broker import redis_client
from app.db import repository
from app.db.schema import HEAD
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.schemas import Check, Health, Ready
from app.services.counting import WORKER_SILENT_SECONDS
from app.settings import BrokerSettings

router = APIRouter()

# Redis is asked while the database is. Few threads: checks of a frozen Redis must not pile up.
_askers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ready")


@router.get("/health", response_model=Health, summary="Tell that this process answers")
async def health(given: Given) -> JSONResponse:
    return JSONResponse({"status": "ok", "release": given.settings.release})


@router.get(
    "/health/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A part is not well; the body says which."}},
    summary="Tell whether this release can do its work",
)
def ready(given: Given) -> JSONResponse:
    settings = given.settings
    redis_check = _askers.submit(check_redis, settings)
    checks = check_database(given.database, settings.ready_max_task_age_seconds)
    checks["redis"] = redis_check.result()
    ok = all(check.ok for check in checks.values())
    body = Ready(status="ok" if ok else "not_ready", release=settings.release, checks=checks)
    headers = {"Cache-Control": "no-store"} | ({} if ok else {"Retry-After": "2"})
    return JSONResponse(body.model_dump(), status_code=200 if ok else 503, headers=headers)


def check_redis(settings: BrokerSettings) -> Check:
    """Whether the broker takes commands from us; after half a second it does not."""
    begun = time.monotonic()
    try:
        with redis_client(settings) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return _check(begun, f"does not answer: {type(error).__name__}", ok=False)
    return _check(begun, "answers")


def check_database(database: Database, max_task_age_seconds: float) -> dict[str, Check]:
    """All that the database can tell, under one deadline; what could not be asked any more is not ok."""
    checks: dict[str, Check] = {}
    begun = time.monotonic()
    try:
        with database.connection() as connection:
            connection.execute(text("SELECT 1"))
            checks["database"] = _check(begun, "answers")
            checks["schema"] = _schema(connection)
            checks["worker"] = _worker(connection)
            checks["oldest_due_task"] = _oldest_due_task(connection, max_task_age_seconds)
    except DatabaseUnavailable:
        for part in ("database", "schema", "worker", "oldest_due_task"):
            checks.setdefault(part, _check(begun, "the database did not answer", ok=False))
    return checks


def _schema(connection: Connection) -> Check:
    begun = time.monotonic()
    revision = repository.schema_revision(connection)
    # A newer schema is a newer release's, and every migration leaves the one before working.
    ok = revision is not None and revision >= HEAD
    return _check(begun, f"stands at {revision}, this release needs {HEAD}", ok=ok)


def _worker(connection: Connection) -> Check:
    begun = time.monotonic()
    age = repository.worker_seen_seconds(connection)
    if age is None:
        return _check(begun, "none was ever seen", ok=False)
    return _check(begun, f"last seen {age:.0f} s ago", ok=age < WORKER_SILENT_SECONDS)


def _oldest_due_task(connection: Connection, max_task_age_seconds: float) -> Check:
    begun = time.monotonic()
    age = repository.oldest_due_seconds(connection)
    return _check(begun, f"has been due for {age:.1f} s", ok=age <= max_task_age_seconds)


def _check(begun: float, detail: str, *, ok: bool = True) -> Check:
    return Check(ok=ok, seconds=round(time.monotonic() - begun, 3), detail=detail)
