"""GET /task_status/{task_id}"""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from app.api.dependencies import Given
from app.errors import InvalidInput, NotFound, ServiceUnavailable
from app.schemas import TaskStatus, problems

router = APIRouter()


# `:path`, so that an id with slashes in it is an unknown id as well.
@router.get(
    "/task_status/{task_id:path}",
    response_model=TaskStatus,
    # FastAPI describes a 422 for every path with a parameter; this is the form that it would have.
    responses=problems(NotFound, InvalidInput, ServiceUnavailable),
    summary="Tell where a task stands",
)
async def get(
    given: Given, task_id: Annotated[str, Path(description="as the submission answered")]
) -> Response:
    task = await given.reader.ask(task_id)
    return Response(
        task.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"}
    )
