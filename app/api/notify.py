"""POST /notify/"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.dependencies import Given
from app.errors import InvalidInput, RequestTooLarge, ServiceUnavailable, TooManyRequests
from app.kinds import notify
from app.schemas import Accepted, Status, problems
from app.services.submission import Submission


def router(message_max_characters: int) -> APIRouter:
    """The path, with the schema that has the message's limit in it."""
    routes = APIRouter()
    schema = notify.input_schema(message_max_characters)

    @routes.post(
        "/notify/",
        status_code=202,
        response_model=Accepted,
        responses=problems(RequestTooLarge, InvalidInput, TooManyRequests, ServiceUnavailable),
        summary="Accept a notification to be sent",
    )
    async def post(given: Given, body: schema) -> JSONResponse:  # type: ignore[valid-type]
        payload = body.model_dump(exclude_none=True)  # type: ignore[attr-defined]
        task_id = await given.writer.ask(Submission(notify.KIND, payload, recipient=payload["email"]))
        url = f"/task_status/{task_id}"
        answer = {"task_id": task_id, "status": Status.QUEUED, "status_url": url}
        return JSONResponse(answer, status_code=202, headers={"Location": url})

    return routes
