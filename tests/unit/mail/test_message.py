"""A mail has one recipient and exactly our headers, whatever the message says."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from app.mail.message import render

TASK_ID = "00d21i6octkcv769pu6ond6eghhro9v5dgq0"


def rendered(message: str | None) -> EmailMessage:
    """As a mail server would read it."""
    mail = render(
        "notify",
        task_id=TASK_ID,
        sender="tasks@mail.example.com",
        recipient="someone@example.com",
        message=message,
    )
    sent = mail.as_bytes()
    assert sent.isascii()
    assert max(len(line) for line in sent.split(b"\r\n")) <= 998
    return message_from_bytes(sent, policy=SMTP)  # type: ignore[return-value]


def body(mail: EmailMessage, kind: str) -> str:
    """One of the two parts."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize(
    "message",
    [None, "", "hello", "Grüße, 日本 🦊", "a\r\nBcc: other@example.com\r\n\r\nb",
     "x" * 2000, ".\r\n.\r\nQUIT\r\n",
     "\u2028Bcc: other@example.com", "<script>alert(1)</script>", "{{ 7 * 7 }}{% include 'x' %}"],
)  # fmt: skip
def test_the_headers_are_ours_alone(message: str | None) -> None:
    mail = rendered(message)
    assert sorted(mail.keys()) == sorted(
        [
            "Message-ID",
            "Date",
            "From",
            "To",
            "Subject",
            "X-Task-Id",
            "Auto-Submitted",
            "MIME-Version",
            "Content-Type",
        ]
    )
    assert mail["To"] == "someone@example.com"
    assert mail["From"] == "tasks@mail.example.com"
    assert mail["Message-ID"] == f"<{TASK_ID}@mail.example.com>"
    assert mail["X-Task-Id"] == TASK_ID
    assert mail["Subject"] == "A notification for you"


def test_both_parts_say_the_same() -> None:
    # In UTF-8, the Å has a byte that some call a line break.
    mail = rendered("Grüße, 日本 🦊, Ångström = 1\u2028e-10\nsecond line \n")
    for kind in ("plain", "html"):
        assert "Grüße, 日本 🦊, Ångström = 1\u2028e-10\nsecond line \n" in body(mail, kind).replace(
            "\r\n", "\n"
        )


@pytest.mark.parametrize(
    "recipient", ["a@example.com\r\nBcc: b@example.com", "a@example.com\n", "a\x00@example.com"]
)
def test_a_header_cannot_begin_another(recipient: str) -> None:
    with pytest.raises(ValueError, match="control character in To"):
        render("notify", task_id=TASK_ID, sender="tasks@example.com", recipient=recipient, message=None)


def test_markup_is_text_in_both_parts() -> None:
    mail = rendered("<b>bold</b> & {{ 7 * 7 }}")
    assert "<b>bold</b> & {{ 7 * 7 }}" in body(mail, "plain")
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; {{ 7 * 7 }}" in body(mail, "html")


def test_without_a_message_there_is_a_sentence() -> None:
    for kind in ("plain", "html"):
        assert "asked for at this address" in body(rendered(None), kind)
