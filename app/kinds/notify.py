"""The kind `notify`: a mail to one address."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, create_model

from app.kinds.tools import Tools
from app.mail.message import render
from app.schemas import TEXT_PATTERN, Email, printable

KIND = "notify"


class Input(BaseModel):
    """Whom to notify, and of what."""

    model_config = ConfigDict(extra="forbid", strict=True, title="NotifyInput")

    email: Email
    message: str | None = None


def input_schema(message_max_characters: int) -> type[Input]:
    """The schema with the message's limit, which is a setting."""
    limits = StringConstraints(strict=True, max_length=message_max_characters)
    described = Field(json_schema_extra={"pattern": TEXT_PATTERN})
    return create_model(
        "NotifyInput",
        __base__=Input,
        message=(Annotated[str, limits, AfterValidator(printable), described] | None, None),
    )


def handle(task_id: str, payload: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Sends the mail."""
    message = render(
        "notify",
        task_id=task_id,
        sender=tools.mail_from,
        recipient=payload["email"],
        message=payload.get("message"),
    )
    return {"message_id": message["Message-ID"], "answer": tools.mailer.send(message)}
