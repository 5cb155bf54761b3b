"""The demo's findings as one HTML page that needs nothing else: no script, no network, pictures inside."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from spdq.errors import NotFoundError, StorageError
from spdq.evaluation import parse_protocol
from spdq.models.directory import write_bytes
from spdq_benchmarks.charts import Series, line_chart
from spdq_benchmarks.findings import DIRECTION_NAMES, Answer, Findings, Found, Row

STEP_NAMES = {
    "data": "Read pictures, extract features",
    "training": "Train networks and codebooks",
    "index": "Encode and index all items",
    "figures": "Judge on held-out queries",
    "answers": "Answer the queries on this page",
}
MAX_LINES = 6


def write_report(findings: Findings, path: Path) -> None:
    """Write the page, whole or not at all. Raises NotFoundError for a lost picture, StorageError."""
    page = render(findings).encode()
    try:
        write_bytes(path, page)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def render(findings: Findings) -> str:
    """The page; the same findings and pictures give the same text."""
    template = Template((files("spdq_benchmarks") / "report.html").read_text(encoding="utf-8"))
    sizes = findings.sizes
    return template.substitute(
        bits=findings.bits,
        seed=findings.seed,
        version=escape(findings.version),
        items_shown=f"{sizes.items:,}",
        headline=f"Pictures found by words, {sizes.code} bytes each",
        lead=_lead(findings),
        facts=_facts(findings),
        words_note=_words_note(findings),
        text_answers="".join(map(_answer, findings.texts)),
        image_answers="".join(map(_answer, findings.images)),
        figures_note=_figures_note(findings),
        tables="".join(_tables(findings)),
        training_note=_training_note(findings),
        charts=_charts(findings),
        size_table=_size_table(findings),
        time_table=_time_table(findings),
        commands=_commands(findings),
    )


def _lead(findings: Findings) -> str:
    return (
        f"Each of {findings.sizes.items:,} emoji, the picture together with its names in many languages, "
        f"became one code of {findings.bits} bits. What you see below was found by an exact scan of those "
        "codes, and of nothing but the codes."
    )


def _facts(findings: Findings) -> str:
    shown = [
        (
            escape(f"{row.protocol}, same {row.labels.rstrip(':')}" if row.labels else row.protocol),
            _data(row.codes.value),
            f"{DIRECTION_NAMES[row.direction]}, {findings.bits}-bit codes; split: {escape(row.split)}; "
            f"chance {_data(row.chance.value)}",
        )
        for row in _headline_rows(findings.rows)
    ]
    sizes = findings.sizes
    ratio = sizes.vector / sizes.code
    shown.append(
        (
            "Code of one item",
            f"{sizes.code} bytes",
            f"its float vector has {sizes.vector:,}: {ratio:.0f} times as many",
        )
    )
    total = sum(findings.seconds.values())
    shown.append(
        ("All steps together", f"{_seconds(total)}", "on this machine, without a GPU" + _kept(findings))
    )
    return "".join(
        f'<div><dt>{label}</dt><dd class="big">{value}</dd><dd class="note">{note}</dd></div>'
        for label, value, note in shown
    )


def _headline_rows(rows: Sequence[Row]) -> list[Row]:
    """Text finds pictures of its group, and its very item: the two sides a code has to serve at once."""
    by_group = [row for row in rows if (row.direction, row.labels) == ("t2i", "group:")]
    by_item = [row for row in rows if row.protocol == "instance-recall@10"]
    return by_group[:1] + by_item[:1]


def _kept(findings: Findings) -> str:
    return f"; kept from an earlier run: {', '.join(findings.reused)}" if findings.reused else ""


def _words_note(findings: Findings) -> str:
    split = findings.dataset["split"]
    return (
        "The number under a picture is the inner product of query and code: larger is closer. Names are Unicode's own. "
        '<span class="new">new</span> marks items never trained on, '
        f"{split['query']:,} of {findings.sizes.items:,}."
    )


def _answer(answer: Answer) -> str:
    if answer.picture is None:
        asked = f"<h3>&ldquo;{escape(answer.query)}&rdquo;</h3>"
    else:
        asked = (
            f"{_image(answer.picture, f'the query picture: {answer.query}')}<h3>{escape(answer.query)}</h3>"
        )
    hits = "".join(map(_hit, answer.hits))
    body = f'<ol class="hits">{hits}</ol>' if hits else f'<p class="note">{escape(answer.problem)}</p>'
    asked += f'<span class="about">{escape(answer.about)}</span>'
    return f'<article class="answer"><div class="asked">{asked}</div>{body}</article>'


def _hit(hit: Found) -> str:
    new = '<span class="new" title="never trained on">new</span>' if hit.held_out else ""
    name = escape(hit.name)
    return (
        f'<li><div class="picture">{_image(hit.picture, hit.name)}{new}</div>'
        f'<div class="distance">{_data(hit.distance)}</div><div class="name" title="{name}">{name}</div></li>'
    )


def _image(path: Path, alt: str) -> str:
    return f'<img src="{_data_uri(path)}" alt="{escape(alt)}" width="72" height="72">'


@cache
def _data_uri(path: Path) -> str:
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else path.suffix.lower().lstrip(".")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from error
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _figures_note(findings: Findings) -> str:
    split = findings.dataset["split"]
    return (
        f"{split['query']:,} emoji were held out and never trained on; they are the queries. A text query is "
        "the one English name. Items are coded from their features alone, never from their labels. Every "
        "figure is the expected value over random order of tied items; <code>spdq demo --json</code> has the "
        "range."
    )


def _tables(findings: Findings) -> Iterable[str]:
    """One table a protocol family and split, so that each caption can name both."""
    for (direct, split), rows in groupby(findings.rows, key=lambda row: (row.labels == "", row.split)):
        yield _table(findings, list(rows), split, by_item=direct)


def _table(findings: Findings, rows: list[Row], split: str, by_item: bool) -> str:
    protocols = list(dict.fromkeys(row.protocol for row in rows))
    queries = rows[0].codes.queries
    database = findings.dataset["items"] if by_item else findings.dataset["split"]["database"]
    searched = "units, every item" if by_item else "trained items of one modality"
    heads = "".join(
        f'<th scope="col" class="number">{head}</th>'
        for head in ("chance", "float vectors", f"{findings.bits}-bit codes")
    )
    body = "".join(_table_row(findings, row, by_item) for row in rows)
    relevant = "protocol" if by_item else "relevant"
    return (
        '<div class="panel scroll"><table>'
        f"<caption><strong>{escape(', '.join(protocols))}</strong><br>split: {escape(split)}; "
        f"{queries:,} queries, {database:,} {searched}. {escape(_defined(protocols))}</caption>"
        f'<thead><tr><th scope="col">query → database</th><th scope="col">{relevant}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _table_row(findings: Findings, row: Row, by_item: bool) -> str:
    classes = findings.dataset["label_sets"].get(row.labels, 0)
    relevant = row.protocol if by_item else f"same {row.labels.rstrip(':')} (of {classes})"
    cells = "".join(
        f'<td class="number{" best" if coding == "codes" else ""}">{_data(figure.value)}</td>'
        for coding, figure in row.figures()
    )
    return f'<tr><th scope="row">{DIRECTION_NAMES[row.direction]}</th><td>{escape(relevant)}</td>{cells}</tr>'


def _defined(protocols: Sequence[str]) -> str:
    definitions = dict.fromkeys(parse_protocol(name).definition for name in protocols)
    return " ".join(f"{definition[0].upper()}{definition[1:]}." for definition in definitions)


def _training_note(findings: Findings) -> str:
    if not findings.log:
        return "The model came without a training log."
    rows = findings.dataset["split"]["train"]
    validated = any(entry.get("validation") for entry in findings.log)
    aside = ", less those set aside as validation queries" if validated else ""
    return (
        f"{findings.log[-1]['step']:,} steps on {rows:,} emoji{aside}: "
        "the held-out ones of the tables above had no say in when to stop."
    )


def _charts(findings: Findings) -> str:
    """Loss and its terms, and validation figures where the run had some."""
    losses = [
        {name: value for name, value in entry.items() if name not in ("seconds", "validation")}
        for entry in findings.log
    ]
    validated = [
        {"step": entry["step"], **entry["validation"]} for entry in findings.log if entry.get("validation")
    ]
    charts = (
        ("Training loss and its terms", "mean since the last point", losses),
        ("Validation during training, float vectors", "map@all", validated),
    )
    return "".join(
        f'<div class="panel">{line_chart(title, "step", y_label, _series(entries))}</div>'
        for title, y_label, entries in charts
        if entries
    )


def _series(entries: list[dict[str, Any]]) -> list[Series]:
    names = [name for name in entries[0] if name != "step"][:MAX_LINES]
    return [
        Series(name, [(entry["step"], entry[name]) for entry in entries if name in entry]) for name in names
    ]


def _size_table(findings: Findings) -> str:
    sizes = findings.sizes
    lines = [
        (f"{findings.bits}-bit code", sizes.code, sizes.code * sizes.items),
        ("float vector", sizes.vector, sizes.vector * sizes.items),
        ("average picture", sizes.pictures / sizes.items, sizes.pictures),
    ]
    largest = max(item for _, item, _ in lines)
    body = "".join(
        f'<tr><th scope="row">{name}</th><td class="number">{_bytes(item)}</td><td class="bars">'
        f'{_bar(item / largest)}</td><td class="number">{_bytes(total)}</td></tr>'
        for name, item, total in lines
    )
    once = (
        ("codebooks, once for any number of items", sizes.codebooks),
        ("whole index on disk", sizes.index),
    )
    body += "".join(
        f'<tr><th scope="row" colspan="3">{name}</th><td class="number">{_bytes(size)}</td></tr>'
        for name, size in once
    )
    return (
        "<table><caption><strong>Size</strong></caption>"
        '<thead><tr><th scope="col">what</th><th scope="col" class="number">an item</th><td></td>'
        f'<th scope="col" class="number">all {sizes.items:,}</th></tr></thead><tbody>{body}</tbody></table>'
    )


def _time_table(findings: Findings) -> str:
    longest = max(findings.seconds.values())
    body = "".join(
        f'<tr><th scope="row">{STEP_NAMES[step]}{" (kept)" if step in findings.reused else ""}</th>'
        f'<td class="bars">{_bar(seconds / longest)}</td><td class="number">{_seconds(seconds)}</td></tr>'
        for step, seconds in findings.seconds.items()
    )
    return (
        '<table><caption><strong>Time</strong></caption><thead><tr><th scope="col">step</th><td></td>'
        f'<th scope="col" class="number">seconds</th></tr></thead><tbody>{body}</tbody></table>'
    )


def _commands(findings: Findings) -> str:
    out = findings.out
    shown = (
        (
            "Ask something else, in words or with a picture of your own:",
            ["search", out / "index", "--text", "sunny day"],
        ),
        ("Judge by another protocol:", ["evaluate", out / "model", out / "emoji.h5", "--protocol", "map@50"]),
        ("Train shorter codes:", ["train", out / "emoji.h5", out / "model-16", "--bits", "16"]),
    )
    return "".join(
        f"<p>{what}</p><pre><code>{escape(shlex.join(['spdq', *map(str, words)]))}</code></pre>"
        for what, words in shown
    )


def _data(value: float) -> str:
    """A figure to three decimals, whole in the markup."""
    return "undefined" if math.isnan(value) else f'<data value="{value!r}">{value:.3f}</data>'


def _seconds(value: float) -> str:
    return f'<data value="{value!r}">{value:.1f}</data> s'


def _bytes(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f'<data value="{size!r}">{size / factor:.3g} {unit}</data>'
    return f'<data value="{size!r}">{size:.0f} bytes</data>'


def _bar(share: float) -> str:
    return f'<span class="bar" style="width: {100 * share:.2f}%"></span>'
