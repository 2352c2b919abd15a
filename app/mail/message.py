"""One mail, rendered from its templates."""

from email.charset import QP, Charset
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import formatdate
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

# The standard library's older classes: the newer ones parse and fold each header by its grammar, which takes
# longer than all the rest that a worker does for a mail. Ours are short and plain.
_POLICY = compat32.clone(linesep="\r\n")
# Seven bits, because not every server on the way takes eight.
_UTF_8 = Charset("utf-8")
_UTF_8.body_encoding = QP
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    # The files of a release do not change.
    auto_reload=False,
)


def render(template: str, *, task_id: str, sender: str, recipient: str, **values: object) -> Message:
    """A mail with a text and an HTML part. The first line of `<template>.txt.j2` is the subject.

    The id makes the Message-ID, so a second copy is recognised as such by servers and clients that look.
    Raises ValueError for a header with a control character, which could end it and begin another.
    """
    subject, _, body = _templates.get_template(f"{template}.txt.j2").render(values).partition("\n")
    message = MIMEMultipart("alternative", policy=_POLICY)
    headers = {
        "Message-ID": f"<{task_id}@{sender.rpartition('@')[2]}>",
        "Date": formatdate(),
        "From": sender,
        "To": recipient,
        "Subject": subject,
        "X-Task-Id": task_id,
        "Auto-Submitted": "auto-generated",
    }
    for name, value in headers.items():
        if not value.isprintable():
            raise ValueError(f"a control character in {name}")
        message[name] = value
    message.attach(_part(body.lstrip("\n"), "plain"))
    message.attach(_part(_templates.get_template(f"{template}.html.j2").render(values), "html"))
    return message


def _part(text: str, subtype: str) -> MIMEText:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return MIMEText(lines, subtype, _UTF_8, policy=_POLICY)  # type: ignore[arg-type]
