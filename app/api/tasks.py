"""/tasks: what operators ask and have done, with their token."""

import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from app.api.dependencies import Given
from app.errors import InvalidInput, RequestTooLarge, ServiceUnavailable, Unauthorized
from app.operator_schemas import Changed, Counts, Listing, Selection, TaskPage
from app.schemas import Operation, problems
from app.services import operation


class _ForOperators(APIRoute):
    """Asks for the token before anything of the request is read; no answer is kept anywhere."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            token = request.app.state.runtime.settings.operator_token.get_secret_value()
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
                raise Unauthorized
            response = await handle(request)
            response.headers["Cache-Control"] = "no-store"
            return response

        return checked


router = APIRouter(
    prefix="/tasks",
    route_class=_ForOperators,
    # For the description of the API: `_ForOperators` is what refuses.
    dependencies=[Security(HTTPBearer(scheme_name="operator", auto_error=False))],
    responses=problems(Unauthorized, InvalidInput, ServiceUnavailable),
)


@router.get("", summary="List tasks, the newest first")
def look(given: Given, which: Annotated[Listing, Query()]) -> TaskPage:
    return operation.look(given.operators_database, which)


@router.get("/counts", summary="Count tasks by status")
def count(given: Given) -> Counts:
    return operation.count(given.operators_database)


@router.post(
    "/cancel",
    responses=problems(RequestTooLarge),
    summary="Call off what has not begun or waits for another attempt",
)
def cancel(given: Given, which: Selection) -> Changed:
    return operation.change(given.operators_database, Operation.CANCEL, which)


@router.post(
    "/retry", responses=problems(RequestTooLarge), summary="Let what waits for another attempt be tried now"
)
def retry(given: Given, which: Selection) -> Changed:
    return operation.change(given.operators_database, Operation.RETRY, which)


@router.post(
    "/replay", responses=problems(RequestTooLarge), summary="Let what failed or was cancelled begin anew"
)
def replay(given: Given, which: Selection) -> Changed:
    return operation.change(given.operators_database, Operation.REPLAY, which)
