"""What a run leaves: a table, `reports/bench.json` and a picture."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tests.bench.figures import Figure, rounded

_ROW, _LEFT, _BAR, _RIGHT, _TOP = 22, 430, 340, 230, 46


def table(figures: Sequence[Figure]) -> str:
    """Markdown; what has no goal is only reported."""
    rows = ["| figure | ours | peer | value | goal | |", "| --- | ---: | ---: | ---: | --- | --- |"]
    for figure in figures:
        peer = "" if figure.peer is None else f"{rounded(figure.peer):g}"
        mark = {True: "reached", False: "**missed**", None: ""}[figure.reached]
        goal = figure.goal or ""
        value = f"{rounded(figure.value):g} {figure.unit}"
        rows.append(f"| {figure.figure} | {rounded(figure.ours):g} | {peer} | {value} | {goal} | {mark} |")
    return "\n".join(rows)


def picture(figures: Sequence[Figure], conditions: str) -> str:
    """An SVG: a bar for each figure with a goal, as long as it reaches; the line is the goal."""
    with_goal = [figure for figure in figures if figure.goal is not None]
    width, height = _LEFT + _BAR + _RIGHT, _TOP + _ROW * len(with_goal) + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        '<text x="10" y="20" font-size="15" font-weight="bold">Against the tutorial, in one run</text>',
        f'<text x="10" y="38" fill="#555">{escape(conditions)}</text>',
    ]
    for number, figure in enumerate(with_goal):
        lines += _bar(figure, _TOP + _ROW * number)
    at = _LEFT + _BAR / 2
    lines.append(
        f'<line x1="{at}" x2="{at}" y1="{_TOP}" y2="{height - 18}" stroke="#222" stroke-width="1.5"/>'
    )
    lines.append(f'<text x="{at}" y="{height - 5}" text-anchor="middle">goal</text></svg>')
    return "\n".join(lines)


def _bar(figure: Figure, y: int) -> list[str]:
    assert figure.goal is not None
    # Twice the goal is as far as a bar goes.
    length = round(_BAR / 2 * min(figure.goal.share(figure.value), 2))
    colour = "#2c7a4b" if figure.reached else "#b3362c"
    words = f"{rounded(figure.value):g} {figure.unit} (goal {figure.goal})"
    return [
        f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(figure.figure)}</text>',
        f'<rect x="{_LEFT}" y="{y + 4}" width="{length}" height="{_ROW - 8}" fill="{colour}"/>',
        f'<text x="{_LEFT + _BAR + 8}" y="{y + 15}">{escape(words)}</text>',
    ]


def write(directory: Path, figures: Sequence[Figure], behind_nginx: Sequence[Figure], conditions: str) -> str:
    """Writes all three; returns the tables."""
    directory.mkdir(exist_ok=True)
    found = {
        "conditions": conditions,
        "figures": [figure.as_json() for figure in figures if figure.goal is not None],
        "reported": [figure.as_json() for figure in [*figures, *behind_nginx] if figure.goal is None],
    }
    (directory / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
    (directory / "bench.svg").write_text(picture(figures, conditions))
    tables = table(figures)
    if behind_nginx:
        tables += "\n\nBehind the same nginx, reported and no goal:\n\n" + table(behind_nginx)
    (directory / "bench.md").write_text(f"{conditions}\n\n{tables}\n")
    return tables
