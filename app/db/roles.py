"""Roles of the database: connecting as one, asking for one, and statements that name one."""

from psycopg2 import sql
from psycopg2.extensions import encrypt_password
from pydantic import SecretStr
from sqlalchemy import Connection, text

from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.settings import MigrateSettings


def database_of(settings: MigrateSettings, username: str, password: SecretStr) -> Database:
    """The database for one of its administering users, who needs one connection."""
    return Database(settings, username=username, password=password.get_secret_value(), pool_size=1)


def logs_in(database: Database) -> bool:
    """Whether a role can log in with the password that it is to have."""
    try:
        with database.connection():
            return True
    except DatabaseUnavailable:
        return False
    finally:
        database.close()


def is_there(connection: Connection, role: str) -> bool:
    """Whether the server has such a role."""
    asked = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
    return connection.execute(asked, {"role": role}).scalar() is not None


def set_password(connection: Connection, statement: str, role: str, password: SecretStr) -> None:
    """The server gets a verifier, never the password, so no log of it can hold one."""
    raw = connection.connection.driver_connection
    verifier = encrypt_password(password.get_secret_value(), role, scope=raw, algorithm="scram-sha-256")
    run(connection, statement + " PASSWORD {verifier}", role=role, verifier=verifier)


def run(connection: Connection, statement: str, *, verifier: str | None = None, **names: str) -> None:
    """A statement in which every name is quoted as one."""
    parts: dict[str, sql.Composable] = {key: sql.Identifier(name) for key, name in names.items()}
    if verifier is not None:
        parts["verifier"] = sql.Literal(verifier)
    connection.connection.cursor().execute(sql.SQL(statement).format(**parts))
