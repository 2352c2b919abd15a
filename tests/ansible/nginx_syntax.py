"""Reads nginx's configuration language: directives are words up to `;`, or words and a block in braces."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<word>[{};]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:[^\s;{}'"\\]|\\.)+)""", re.DOTALL
)


class Directive(NamedTuple):
    """`block` is empty where it has none; `within` names the blocks around it, outermost first."""

    words: list[str]
    block: "list[Directive]"
    within: tuple[str, ...]

    @property
    def name(self) -> str:
        """The directive's first word."""
        return self.words[0]

    @property
    def arguments(self) -> list[str]:
        """The words after the name."""
        return self.words[1:]


def parse(text: str) -> list[Directive]:
    """The directives of a file at its top level."""
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"not nginx's syntax: {text[position : position + 40]!r}")
        if word := match["word"]:
            tokens.append(word)
        position = match.end()
    stream = iter(tokens)
    found = list(_block(stream, ()))
    if next(stream, None) is not None:
        raise ValueError("a brace too many")
    return found


def _block(tokens: Iterator[str], within: tuple[str, ...]) -> Iterator[Directive]:
    words: list[str] = []
    for token in tokens:
        if token == ";":
            yield Directive(words, [], within)
            words = []
        elif token == "{":
            yield Directive(words, list(_block(tokens, (*within, " ".join(words)))), within)
            words = []
        elif token == "}":
            return
        else:
            words.append(token[1:-1] if token[0] in "'\"" else token)


def walk(directives: list[Directive]) -> Iterator[Directive]:
    """Every directive at every depth."""
    for directive in directives:
        yield directive
        yield from walk(directive.block)
