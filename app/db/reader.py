"""The role as which people look into the database: it may read, and not what tells of a person.

Nobody logs in as it, so it has no password to keep or to change: the schema's owner begins a session as it.
It bears the owner's name, since roles belong to the whole server, and only who made one may give it away.
"""

from sqlalchemy import Connection, Table, text

from app.db.models import metadata

# What erasing takes out of a task (retention.py).
PERSONAL = {"payload", "recipient_digest", "result", "error"}


def grant(connection: Connection, owner: str) -> None:
    """Has the schema's owner, who is connected, make the role, and gives it exactly what it may."""
    name = f"{owner}_reader"
    role = connection.dialect.identifier_preparer.quote(name)
    if not connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": name}).scalar():
        connection.exec_driver_sql(f"CREATE ROLE {role} NOLOGIN")
    # Who makes a role may administer it; to act as it is a right of its own.
    connection.exec_driver_sql(f"GRANT {role} TO CURRENT_USER")
    connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
    connection.exec_driver_sql(f"GRANT SELECT ON alembic_version TO {role}")
    for table in metadata.sorted_tables:
        connection.exec_driver_sql(f"GRANT SELECT ({_columns(table)}) ON {table.name} TO {role}")


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns if column.name not in PERSONAL)
