"""Settings without an environment."""

from collections.abc import Callable
from pathlib import Path

import pytest

ENVIRONMENT = {
    "RELEASE": "abc123",
    "COLOUR": "blue",
    "ENVIRONMENT": "test",
    "DATABASE_HOST": "db.example.com",
    "DATABASE_NAME": "steadfast",
    "DATABASE_USERNAME": "app",
    "MIGRATOR_USERNAME": "migrator",
    "DATABASE_CA_PATH": "/etc/steadfast/database-ca.pem",
    "SMTP_HOST": "mail.example.com",
    "MAIL_FROM": "tasks@example.com",
    "SMOKE_TEST_RECIPIENT": "smoke@example.com",
}
SECRETS = {
    "app_database_password": "d4tabase-Pa55-of-the-test",
    "app_redis_password": "r3dis/Pa55+of@the:test",
    "app_migrator_password": "m1grator-Pa55-of-the-test",
    "app_operator_token": "0perator-T0ken-of-the-test",
}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what a deployment sets; a name given as None is left out."""

    def set_environment(**changes: str | None) -> None:
        for name, value in (ENVIRONMENT | SECRETS | changes).items():
            if name.startswith("app_"):
                (tmp_path / name).unlink(missing_ok=True)
                if value is not None:
                    (tmp_path / name).write_text(value)
            elif value is None:
                monkeypatch.delenv(f"APP_{name}", raising=False)
            else:
                monkeypatch.setenv(f"APP_{name}", value)
        monkeypatch.setenv("APP_SECRETS_DIR", str(tmp_path))

    return set_environment
