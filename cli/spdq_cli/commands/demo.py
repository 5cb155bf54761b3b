"""``spdq demo``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from spdq_cli.errors import note, printable
from spdq_cli.output import json_option, print_json, print_table
from spdq_cli.progress import progress_bar, quiet_option

if TYPE_CHECKING:
    from spdq_benchmarks.findings import Answer, Findings

LABELS = {
    "pictures": "Picture features",
    "training": "Training steps",
    "index": "Indexing",
    "figures": "Judging",
}


@click.command(short_help="Train, index and search emoji; write a report.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="spdq-demo",
    help="Folder for data, model, index and report.",
)
@click.option("--bits", type=click.Choice(["16", "32", "64", "128"]), default="64", help="Length of a code.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="For everything drawn at random.")
@click.option("--serve", "is_served", is_flag=True, help="Then serve the search page, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="For --serve; 0 takes a free one.")
@quiet_option
@json_option
def demo(out: Path, bits: str, seed: int, is_served: bool, port: int, quiet: bool, as_json: bool) -> None:
    """Train SPDQ on emoji, index their pictures with their words, judge, answer a dozen queries.

    Everything it needs is installed with `pip install "spdq[demo]"`, for --serve with `pip install "spdq[demo,serve]"`.
    What is in the folder already and fits is used again. The last line names the page to look at.
    """
    if is_served:
        # What is missing is said before the training, not after it.
        from spdq.serving import Settings
        from spdq.serving import serve as run_server
    from spdq_benchmarks.demo import DATA, INDEX, REPORT, run_demo
    from spdq_benchmarks.report import write_report

    try:
        with _Bars(quiet) as progress:
            findings = run_demo(out, bits=int(bits), seed=seed, progress=progress)
    except KeyboardInterrupt as stop:
        stop.args = ("interrupted: the same command goes on from what is done",)
        raise
    report = out / REPORT
    write_report(findings, report)
    if as_json:
        print_json({**findings.to_json(), "report": str(report)})
    else:
        _print(findings, report)
    if is_served:
        run_server(
            out / INDEX, pictures=out / DATA, settings=Settings(port=port), ready=partial(_open_page, out)
        )


def _open_page(out: Path, url: str) -> None:
    note(f"serving {out} on {url}")
    if sys.stdout.isatty():
        click.launch(url)


class _Bars:
    """One progress bar after another: a step's bar is shown until the next step reports."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._step = ""
        self._stack = ExitStack()

    def __enter__(self) -> _Bars:
        return self

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._stack.close()
            self._step = step
            self._bar = self._stack.enter_context(progress_bar(LABELS[step], self._quiet))
        if self._bar is not None:
            self._bar(done, total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def _print(findings: Findings, report: Path) -> None:
    for answer in findings.texts:
        click.echo(_line(answer))
    for split, queries in {row.split: row.codes.queries for row in findings.rows}.items():
        rows = [row for row in findings.rows if row.split == split]
        protocols = ", ".join(dict.fromkeys(row.protocol for row in rows))
        click.echo(
            f"\n{protocols}; split: {split}; {queries} held-out queries, a text is the one English name"
        )
        print_table(
            ("question", "chance", "float vectors", f"{findings.bits}-bit codes"),
            [(row.question, *(figure.value for _, figure in row.figures())) for row in rows],
        )
    kept = f", kept: {', '.join(findings.reused)}" if findings.reused else ""
    click.echo(f"\n{sum(findings.seconds.values()):.0f} s in all{kept}. The page to look at: {report}")


def _line(answer: Answer) -> str:
    """A query, and what was found with its inner product: larger is closer."""
    found = ", ".join(f"{hit.glyph} {hit.name} {hit.distance:.3f}".lstrip() for hit in answer.hits)
    return printable(f"{answer.query} ({answer.about}): {found or answer.problem}")
