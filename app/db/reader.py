"""The role `reader`, as which people look into the database: it may read, and not what tells of a person.

Nobody logs in as it, so it has no password to keep or to change: the schema's owner begins a session as it.
"""

from sqlalchemy import Connection, Table, text

from app.db.models import metadata

ROLE = "reader"
# What erasing takes out of a task (retention.py).
PERSONAL = {"payload", "recipient_digest", "result", "error"}


def grant(connection: Connection) -> None:
    """Makes the role if need be, and gives it exactly what it may."""
    if not connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": ROLE}).scalar():
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} NOLOGIN")
    # Who makes a role may administer it; to act as it is a right of its own.
    connection.exec_driver_sql(f"GRANT {ROLE} TO CURRENT_USER")
    connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROLE}")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {ROLE}")
    connection.exec_driver_sql(f"GRANT SELECT ON alembic_version TO {ROLE}")
    for table in metadata.sorted_tables:
        connection.exec_driver_sql(f"GRANT SELECT ({_columns(table)}) ON {table.name} TO {ROLE}")


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns if column.name not in PERSONAL)
