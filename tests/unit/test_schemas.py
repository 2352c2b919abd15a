"""Addresses, text and the moves between statuses."""

import random
import re
from pathlib import Path

import pytest
from email_validator import validate_email

from app.schemas import (
    FINAL,
    MOVES,
    OPERABLE,
    REPLAYABLE,
    UNFINISHED,
    Operation,
    Status,
    mailbox,
    origins,
    plain_address,
    printable,
)

REFUSED = {
    "nothing": "",
    "no at sign": "someone.example.com",
    "no domain": "someone@",
    "no name": "@example.com",
    "no dot": "someone@localhost",
    "special use": "someone@steadfast.test",
    "display name": "Some One <someone@example.com>",
    "two addresses": "a@example.com,b@example.com",
    "two at signs": "a@b@example.com",
    "spaces": " someone@example.com ",
    "address literal": "someone@[127.0.0.1]",
    "bare address": "someone@127.0.0.1",
    "quoted": '"some one"@example.com',
    "comment": "someone(comment)@example.com",
    "header": "someone@example.com\r\nBcc: other@example.com",
    "bare newline": "someone@example.com\n",
    "bare return": "some\rone@example.com",
    "percent-encoded": "someone%0d%0aBcc:other@example.com",
    "percent-encoded, valid otherwise": "some%0d%0aone@example.com",
    "percent route": "someone%example.org@example.com",
    "bang path": "example.org!someone@example.com",
    "encoded word": "=?utf-8?q?some=0aone?=@example.com",
    "line separator": "some\u2028one@example.com",
    "paragraph separator": "someone@example.com\u2029",
    "next line": "some\u0085one@example.com",
    "vertical tab": "some\x0bone@example.com",
    "NUL": "some\x00one@example.com",
    "escape": "some\x1bone@example.com",
    "surrogate": "some\ud800one@example.com",
    "right-to-left override": "some\u202eone@example.com",
    "not ASCII before the at sign": "sömeone@example.com",
    "long name": "a" * 65 + "@example.com",
    "long domain": "a@" + "a" * 250 + ".com",
    "dots": "some..one@example.com",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_address_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        plain_address(REFUSED[name])


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("someone@example.com", "someone@example.com"),
        ("Some.One+tag@EXAMPLE.com", "Some.One+tag@example.com"),
        ("someone@exämple.de", "someone@xn--exmple-cua.de"),
        ("bounces+a=b.org@example.com", "bounces+a=b.org@example.com"),
    ],
)
def test_an_address_is_kept_in_its_normal_form(written: str, normal: str) -> None:
    assert plain_address(written) == normal


def test_the_quick_look_at_an_address_takes_and_refuses_what_the_grammar_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def noting(value: str, **options: object) -> object:
        asked.append(value)
        return validate_email(value, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("app.schemas.validate_email", noting)
    chance, quick = random.Random(1), 0  # noqa: S311 (not a secret)
    ends = [
        "@a.com",
        "@a.de.",
        "@x--y.com",
        "@a.b-c.org",
        "@a.test",
        "@a.local",
        "@xn--a.com",
        "@" + "a" * 64,
    ]
    for _ in range(20_000):
        written = "".join(chance.choices("aaaaab0.-+_@X", k=chance.randint(1, 12))) + chance.choice(ends)
        asked.clear()
        try:
            normal = plain_address(written)
        except ValueError:
            continue
        quick += not asked
        strict = validate_email(written, check_deliverability=False, allow_smtputf8=False, strict=True)
        assert normal == strict.ascii_email, written
    assert quick > 500


@pytest.mark.parametrize(
    "address", ["a@example.com", "A@example.com", "a+1@example.com", "A+b+c@example.com"]
)
def test_case_and_tag_make_no_other_recipient(address: str) -> None:
    assert mailbox(address) == "a@example.com"


def test_an_address_that_is_all_tag_is_itself() -> None:
    assert mailbox("+a@example.com") == "+a@example.com"


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x0b", "\x1b", "\x7f", "\x85", "\x9b"])
def test_control_characters_are_no_text(character: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        printable(f"a{character}b")


@pytest.mark.parametrize("text", ["", "line\nline\r\n\tline", "Grüße, 日本 🦊", "\u2028"])
def test_everything_else_is_text(text: str) -> None:
    assert printable(text) == text


def test_every_status_is_final_or_unfinished() -> None:
    assert set(FINAL) == {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    assert (*UNFINISHED, *FINAL) == tuple(Status)


def test_a_final_status_is_left_by_a_replay_alone_and_success_never() -> None:
    assert [MOVES[status] for status in FINAL] == [frozenset()] * 3
    assert set(REPLAYABLE) == set(FINAL) - {Status.SUCCEEDED}
    assert origins(Status.QUEUED) == [], "and nothing else leads back to the beginning"


def test_operators_touch_no_running_task() -> None:
    assert OPERABLE == {
        Operation.CANCEL: (Status.QUEUED, Status.RETRYING),
        Operation.RETRY: (Status.RETRYING,),
        Operation.REPLAY: (Status.FAILED, Status.CANCELLED),
    }


def test_the_page_knows_every_status_and_which_are_final() -> None:
    words = (Path(__file__).parents[2] / "frontend" / "words.js").read_text()
    final = re.search(r"export const FINAL = \[(.+)\];", words)
    headlines = re.search(r"export const HEADLINES = \{(.+?)\};", words, re.DOTALL)
    assert final
    assert headlines
    assert re.findall(r'"(\w+)"', final[1]) == list(FINAL)
    assert re.findall(r"(\w+):", headlines[1]) == list(Status)


def test_every_status_says_where_it_may_go_and_every_move_leads_to_one() -> None:
    assert MOVES.keys() == set(Status)
    assert frozenset().union(*MOVES.values()) <= set(Status)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Status.QUEUED, []),
        (Status.RUNNING, ["queued", "running", "retrying"]),
        (Status.RETRYING, ["running"]),
        (Status.SUCCEEDED, ["running"]),
        (Status.FAILED, ["running"]),
        (Status.CANCELLED, ["queued", "retrying"]),
    ],
)
def test_where_a_status_may_come_from(target: Status, expected: list[str]) -> None:
    assert origins(target) == expected
