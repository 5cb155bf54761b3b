"""The report as one HTML page that needs nothing else: no script, no network, charts inside as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template

from spdq_benchmarks.retrieval.cells import DEFAULT, not_ours
from spdq_benchmarks.retrieval.contents import Contents, Part
from spdq_benchmarks.retrieval.sheets import ABOVE, BELOW, Entry, Sheet
from spdq_benchmarks.retrieval.standing import planes, shortfalls, tallies

MARK_WORDS = {BELOW: f"significantly below {DEFAULT}", ABOVE: f"significantly above {DEFAULT}"}


def render(found: Contents) -> str:
    """The page; the same contents give the same text."""
    template = Template((files("spdq_benchmarks.retrieval") / "report_page.html").read_text(encoding="utf-8"))
    parts = [part for part in found.parts if part.is_on_page]
    results = found.results
    lead = (
        f"{len(results.methods)} methods on {len(results.datasets)} data sets ({', '.join(results.datasets)}): "
        f"codes of {', '.join(map(str, results.bits))} bits, every figure with its protocol."
    )
    return template.substitute(
        lead=escape(lead),
        facts=_facts(found),
        contents="".join(
            f'<li><a href="#part-{number}">{escape(part.title)}</a></li>' for number, part in enumerate(parts)
        ),
        parts="".join(_section(part, number) for number, part in enumerate(parts)),
    )


def _facts(found: Contents) -> str:
    """How our default recipe does in one glance; nothing where the run did not have it."""
    ours = [plane for plane in planes(found.results) if DEFAULT in plane.cells]
    shown = []
    if ours:
        front = sum(DEFAULT in plane.front for plane in ours)
        shown.append(("on the front", f"{front} of {len(ours)}", "planes of label MAP and instance recall"))
    for name, standings in (("each direction", found.single), ("both directions averaged", found.averaged)):
        tally_of = tallies(standings).get(DEFAULT, {})
        total = sum(tally.columns for tally in tally_of.values())
        if total:
            best = sum(tally.best for tally in tally_of.values())
            shown.append(("best of all methods", f"{best} of {total}", f"columns, {name}"))
            near = total - len(shortfalls(standings))
            shown.append(("best or within one sd of it", f"{near} of {total}", f"columns, {name}"))
    return "".join(
        f'<div><dt>{DEFAULT}: {label}</dt><dd class="big">{value}</dd><dd class="note">{note}</dd></div>'
        for label, value, note in shown
    )


def _section(part: Part, number: int) -> str:
    return (
        f'<section aria-labelledby="part-{number}"><h2 id="part-{number}">{escape(part.title)}</h2>'
        f"{_body(part, 3)}</section>"
    )


def _body(part: Part, level: int) -> str:
    said = "".join(f'<p class="note">{escape(sentence)}</p>' for sentence in part.sentences)
    points = "".join(f"<li>{escape(point)}</li>" for point in part.points)
    charts = "".join(f'<div class="panel">{chart}</div>' for chart in part.charts)
    sheets = "".join(map(_table, part.sheets))
    return "".join(
        (
            said,
            f'<ul class="note">{points}</ul>' if points else "",
            f'<div class="charts">{charts}</div>' if charts else "",
            f'<div class="sheets">{sheets}</div>' if sheets else "",
            *(_inner(inner, level) for inner in part.parts if inner.is_on_page),
        )
    )


def _inner(part: Part, level: int) -> str:
    body = _body(part, level + 1)
    if not body:
        return ""
    title = escape(part.title)
    if part.is_folded:
        return f"<details><summary>{title}</summary>{body}</details>"
    return f"<h{level}>{title}</h{level}>{body}"


def _table(sheet: Sheet) -> str:
    body = "".join(_row(name, entries) for name, entries in sheet.rows)
    kind = ' class="words"' if sheet.is_text else ""
    title = escape(sheet.title)
    return (
        f'<div class="panel scroll" tabindex="0" role="region" aria-label="{title}"><table{kind}>'
        f"<caption><div><strong>{title}</strong><br>{escape(sheet.about)}</div></caption>"
        f"<thead>{_heads(sheet)}</thead><tbody>{body}</tbody></table></div>"
    )


def _heads(sheet: Sheet) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for _, name in sheet.heads)
    corner = escape(sheet.corner)
    if not any(group for group, _ in sheet.heads):
        return f'<tr><th scope="col">{corner}</th>{names}</tr>'
    groups = "".join(
        f'<th scope="col" colspan="{len(list(heads))}">{escape(group)}</th>'
        for group, heads in groupby(sheet.heads, key=lambda head: head[0])
    )
    return f'<tr><th scope="col" rowspan="2">{corner}</th>{groups}</tr><tr>{names}</tr>'


def _row(name: str, entries: Sequence[Entry]) -> str:
    kind = ' class="ours"' if not_ours(name) < 3 else ""
    return f'<tr{kind}><th scope="row">{escape(name)}</th>{"".join(map(_cell, entries))}</tr>'


def _cell(entry: Entry) -> str:
    text = escape(entry.text)
    text = f"<b>{text}</b>" if entry.strong else text
    spread = f" <small>({entry.spread})</small>" if entry.spread else ""
    mark = f' <abbr title="{MARK_WORDS[entry.mark]}">{entry.mark}</abbr>' if entry.mark else ""
    return f"<td>{text}{spread}{mark}</td>"
