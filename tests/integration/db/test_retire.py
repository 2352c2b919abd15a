"""Two users take turns: the idle one gets the new password, and the other may log in until nobody uses it."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.db.migrate import migrate
from app.db.retire import RetirementRefused, retire, siblings
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.settings import MigrateSettings, load
from tests.integration.machine import Machine


def renewed(username: str, password: str) -> MigrateSettings:
    """As a deployment reads them after a rotation has written them."""
    change = {"database_username": username, "database_password": SecretStr(password)}
    return load(MigrateSettings).model_copy(update=change)


def accepted(settings: MigrateSettings) -> bool:
    """Whether the app can log in with them and sees its rows."""
    database = Database(settings, pool_size=1)
    try:
        with database.connection() as connection:
            connection.execute(text("SELECT count(*) FROM tasks"))
        return True
    except DatabaseUnavailable:
        return False
    finally:
        database.close()


@pytest.fixture
def present(parts: Machine) -> Iterator[MigrateSettings]:
    """What serves: users of these tests' own, since those of the others are connected."""
    settings = renewed("turn", "of-what-serves-now")
    migrate(settings)
    yield settings
    for role in ("turn", *siblings("turn")):
        if parts.superuser(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            parts.superuser(f"DROP OWNED BY {role}")
            parts.superuser(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("username", "others"),
    [("app", ["app_a", "app_b"]), ("app_a", ["app", "app_b"]), ("app_b", ["app", "app_a"])],
)
def test_users_take_turns(username: str, others: list[str]) -> None:
    assert siblings(username) == others


def test_a_rotation_there_and_back(present: MigrateSettings) -> None:
    there = renewed("turn_b", "of-the-first-rotation")
    migrate(there)
    assert accepted(present), "what serves goes on"
    assert accepted(there)
    assert retire(there) == ["turn"]
    assert not accepted(present)
    assert retire(there) == [], "nothing is left to do"

    back = renewed("turn_a", "of-the-second-rotation")
    migrate(back)
    assert accepted(there)
    assert retire(back) == ["turn_b"]
    assert not accepted(there)
    assert accepted(back)

    again = renewed("turn_b", "of-the-third-rotation")
    migrate(again)
    assert accepted(again)
    assert not accepted(there), "the name is the same, the password is not"


def test_a_user_with_connections_may_go_on(present: MigrateSettings) -> None:
    there = renewed("turn_b", "of-a-rotation-in-between")
    migrate(there)
    serving = Database(present, pool_size=1)
    with (
        serving.connection(),
        pytest.raises(RetirementRefused, match="1 connections are still open as turn"),
    ):
        retire(there, wait_seconds=0.6)
    serving.close()
    assert accepted(present)
    assert retire(there) == ["turn"]
