"""One mail, rendered from its templates."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

# Seven bits, because not every server on the way takes eight.
_POLICY = SMTP.clone(cte_type="7bit")
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


def render(template: str, *, task_id: str, sender: str, recipient: str, **values: object) -> EmailMessage:
    """A mail with a text and an HTML part. The first line of `<template>.txt.j2` is the subject.

    The id makes the Message-ID, so a second copy is recognised as such by servers and clients that look.
    """
    subject, _, body = _templates.get_template(f"{template}.txt.j2").render(values).partition("\n")
    message = EmailMessage(policy=_POLICY)
    message["Message-ID"] = f"<{task_id}@{sender.rpartition('@')[2]}>"
    message["Date"] = formatdate()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["X-Task-Id"] = task_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body.lstrip("\n"))
    message.add_alternative(_templates.get_template(f"{template}.html.j2").render(values), subtype="html")
    return message
