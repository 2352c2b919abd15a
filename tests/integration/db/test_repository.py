"""How the statements reach their rows."""

from sqlalchemy import text

from app.db import repository
from app.db.session import Database
from app.schemas import Status, origins
from tests.integration.machine import Machine


def test_a_claim_finds_its_row_by_its_id_however_many_wait(database: Database, parts: Machine) -> None:
    insert = (
        "INSERT INTO tasks (id, kind, payload, status)"
        " SELECT lpad(n::text, 36, '0'), 'notify', '{}', %s FROM generate_series(%s, %s) AS n"
    )
    parts.sql(insert, "succeeded", 10_001, 20_000)
    parts.sql("ANALYZE tasks")
    # A burst, of which the planner knows nothing yet.
    parts.sql(insert, "queued", 1, 5000)
    parameters = {
        "id": "7".rjust(36, "0"), "worker": "w", "lease": 9, "max_attempts": 9, "max_deaths": 9, "died": "{}",
        "origins": origins(Status.RUNNING),
    }  # fmt: skip
    with database.connection() as connection:
        plan = connection.execute(text(f"EXPLAIN {repository._CLAIM}"), parameters).scalars().all()
    assert "tasks_pkey" in "\n".join(plan)
