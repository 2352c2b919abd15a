"""POST /notify/"""

import time
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse

from app.api.dependencies import Given
from app.api.routing import QuickRoute
from app.errors import (
    IdempotencyKeyInUse,
    InvalidInput,
    RequestTooLarge,
    ServiceUnavailable,
    TooManyRequests,
)
from app.kinds import notify
from app.schemas import Accepted, Status, problems
from app.services.submission import Submission
from app.tally import TALLY, Timing

IdempotencyKey = Annotated[
    str,
    Header(
        pattern=r"^[!-~]{16,255}$",
        description="a random text of yours; a repeat under the same key stores nothing anew",
    ),
]


def router(message_max_characters: int) -> APIRouter:
    """The path, with the schema that has the message's limit in it."""
    routes = APIRouter(route_class=QuickRoute)
    schema = notify.input_schema(message_max_characters)

    @routes.post(
        "/notify/",
        status_code=202,
        response_model=Accepted,
        responses=problems(
            IdempotencyKeyInUse, RequestTooLarge, InvalidInput, TooManyRequests, ServiceUnavailable
        ),
        summary="Accept a notification to be sent",
    )
    async def post(
        given: Given,
        body: schema,  # type: ignore[valid-type]
        idempotency_key: IdempotencyKey = "",
    ) -> JSONResponse:
        begun = time.monotonic()
        payload = body.model_dump(exclude_none=True)  # type: ignore[attr-defined]
        given.overload.refuse(payload["email"])
        receipt = await given.writer.ask(
            Submission(notify.KIND, payload, payload["email"], idempotency_key or None)
        )
        url = f"/task_status/{receipt.task_id}"
        answer = {"task_id": receipt.task_id, "status": Status.QUEUED, "status_url": url}
        headers = {"Location": url} | ({} if receipt.stored else {"Idempotency-Replayed": "true"})
        response = JSONResponse(answer, status_code=202, headers=headers)
        TALLY.observe(Timing.ACCEPT_SECONDS, time.monotonic() - begun)
        return response

    return routes
