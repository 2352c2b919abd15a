"""What a handler may use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.mail.mailer import Mailer


@dataclass(frozen=True)
class Tools:
    """The ways to the world outside."""

    mailer: Mailer
    mail_from: str


# A handler gets the task's id, its payload and the tools; it returns the result that the page shows, or
# raises TransientError or PermanentError. It may run twice for one task.
Handler = Callable[[str, dict[str, Any], Tools], dict[str, Any]]
