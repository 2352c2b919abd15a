"""The role as which people look into the database: it may read, and not what tells of a person.

Nobody logs in as it, so it has no password to keep or to change: the schema's owner begins a session as it.
It bears the owner's name, since roles belong to the whole server, and only who made one may give it away.
"""

from sqlalchemy import Connection, Table

from app.db.models import metadata
from app.db.roles import is_there, run

# What erasing takes out of a task (retention.py); and what others might be compared with.
PERSONAL = {"payload", "recipient_digest", "result", "error", "fingerprint"}


def grant(connection: Connection, owner: str) -> None:
    """Has the schema's owner, who is connected, make the role, and gives it exactly what it may."""
    role = f"{owner}_reader"
    if not is_there(connection, role):
        run(connection, "CREATE ROLE {role} NOLOGIN", role=role)
    # Who makes a role may administer it; to act as it is a right of its own.
    run(connection, "GRANT {role} TO CURRENT_USER", role=role)
    run(connection, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}", role=role)
    run(connection, "GRANT USAGE ON SCHEMA public TO {role}", role=role)
    run(connection, "GRANT SELECT ON alembic_version TO {role}", role=role)
    for table in metadata.sorted_tables:
        run(connection, f"GRANT SELECT ({_columns(table)}) ON {table.name} TO {{role}}", role=role)


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns if column.name not in PERSONAL)
