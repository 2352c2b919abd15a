"""The only reader of the environment and of secret files: APP_<NAME> and <secrets>/app_<name> become fields.

A process loads the class of its own name, so it asks only for what its container has.
"""

import os
import re
import warnings
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.schemas import plain_address

PREFIX = "APP_"
# Compared with the letters of a secret alone, so that `Change-me-123!` is one too.
_PLACEHOLDERS = re.compile(
    "(changeme|changethis|replaceme|(your|my|super)?(password|secret)|passwd|placeholder|example|todo|test|admin"
    "|default|letmein|qwerty|steadfast)+"
)


def _real_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if _PLACEHOLDERS.fullmatch(re.sub(r"[^a-z]", "", text.lower())):
        raise ValueError("is a placeholder; put a real secret there")
    if len(text) < 12:
        raise ValueError("is too short; use at least 12 characters")
    return value


Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, AfterValidator(plain_address)]
Secret = Annotated[SecretStr, AfterValidator(_real_secret)]


class Settings(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    release: Name
    colour: Literal["blue", "green"]
    environment: Name
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class DatabaseSettings(Settings):
    """How to reach PostgreSQL as the role without DDL."""

    database_host: Name
    database_port: Port = 5432
    database_name: Name
    database_username: Name
    database_password: Secret
    database_ca_path: Path
    # Over connecting and the statement together, so that a frozen server is noticed in time.
    database_timeout_seconds: float = Field(1.5, gt=0, le=10)


class BrokerSettings(Settings):
    """How to reach Redis."""

    redis_host: Name = "redis"
    redis_port: Port = 6379
    redis_username: Name = "app"
    redis_password: Secret

    @property
    def redis_url(self) -> str:
        """With the password in it: never log it."""
        password = quote(self.redis_password.get_secret_value(), safe="")
        return f"redis://{self.redis_username}:{password}@{self.redis_host}:{self.redis_port}/0"


class ApiSettings(DatabaseSettings, BrokerSettings):
    """`python -m app.api`."""

    message_max_characters: int = Field(2000, ge=1, le=10_000)
    recipient_limit_per_hour: int = Field(5, ge=1)
    smoke_test_recipient: Address
    ready_max_task_age_seconds: float = Field(60, gt=0)
    accept_max_task_age_seconds: float = Field(900, gt=0)
    operator_token: Secret


class RelaySettings(DatabaseSettings, BrokerSettings):
    """`python -m app.relay`."""

    relay_interval_seconds: float = Field(1, gt=0, le=3600)
    # Counted from a task's end. Erased: what tells of a person; 0: not before the whole is removed.
    retention_days: int = Field(30, ge=1, le=36500)
    erase_after_days: int = Field(0, ge=0, le=36500)


class WorkerSettings(RelaySettings):
    """`python -m app.worker`."""

    worker_concurrency: int = Field(16, ge=1, le=64)
    lease_seconds: float = Field(12, ge=1, le=3600)
    # Work that hangs for longer loses its lease, and another worker may begin it anew.
    task_timeout_seconds: float = Field(300, ge=1, le=86_400)
    max_attempts: int = Field(100, ge=1, le=10_000)
    max_deaths: int = Field(5, ge=1, le=100)
    max_unconfirmed: int = Field(5, ge=1, le=100)
    retry_pause_seconds: float = Field(5, gt=0)
    retry_pause_max_seconds: float = Field(900, gt=0)
    smtp_host: Name
    smtp_port: Port = 587
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_timeout_seconds: float = Field(20, gt=0, le=300)
    mail_from: Address

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        # It is renewed each quarter, and a renewal may take as long as the database may.
        if self.lease_seconds < 4 * self.database_timeout_seconds:
            raise ValueError("lease_seconds must be at least four times database_timeout_seconds")
        if self.task_timeout_seconds < self.smtp_timeout_seconds + 4 * self.database_timeout_seconds:
            raise ValueError(
                "task_timeout_seconds must be longer than smtp_timeout_seconds and the recording after it"
            )
        if self.smtp_username and not self.smtp_password.get_secret_value():
            raise ValueError("smtp_password must not be empty when smtp_username is set")
        return self


class MigrateSettings(DatabaseSettings):
    """`python -m app.db.migrate`."""

    migrator_username: Name
    migrator_password: Secret


class FlowerSettings(BrokerSettings):
    """`python -m app.flower`."""


Process = TypeVar("Process", bound=Settings)


class SettingsRefused(Exception):
    """One line a setting that is missing or makes no sense: its name, what is wrong, how to set it."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def load(process: type[Process]) -> Process:
    """The settings of one process, or SettingsRefused."""
    secrets_dir = os.environ.get(f"{PREFIX}SECRETS_DIR", "/run/secrets")
    try:
        with warnings.catch_warnings():
            # A directory that is not there shows as missing secrets, each by its name.
            warnings.simplefilter("ignore")
            return process(_secrets_dir=secrets_dir)  # type: ignore[call-arg]
    except ValidationError as refused:
        lines = [
            _line(str(error["loc"][0]) if error["loc"] else "", error["type"], error["msg"], secrets_dir)
            for error in refused.errors()
        ]
        raise SettingsRefused(lines) from None


def _line(name: str, kind: str, problem: str, secrets_dir: str) -> str:
    problem = "is missing" if kind == "missing" else problem.removeprefix("Value error, ")
    if not name:
        return f"Settings do not fit together: {problem}. Each is set by app_stack_<name> in Ansible."
    if name.endswith(("_password", "_token")):
        return f"{name}: {problem}. It is read from {secrets_dir}/app_{name}, which Ansible fills from SSM."
    return f"{PREFIX}{name.upper()}: {problem}. Set it in the environment, or app_stack_{name} in Ansible."
