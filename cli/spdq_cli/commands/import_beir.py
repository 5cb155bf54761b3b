"""``spdq dataset import beir``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.commands.import_own import (
    BAR,
    MAKER,
    cache_option,
    download_option,
    feature_maker,
    source_argument,
    way_on,
)
from spdq_cli.output import json_option
from spdq_cli.progress import progress_bar, quiet_option
from spdq_cli.target import Target, out_argument, resplit_option


@click.command()
@source_argument
@out_argument
@click.option(
    "--split",
    "judged",
    metavar="NAME",
    default="test",
    help="Queries of qrels/NAME.tsv are those to judge by.",
)
@click.option(
    "--train",
    "learned",
    metavar="NAME",
    help="Queries of qrels/NAME.tsv become clicks to learn from.  [default: train, where there is one]",
)
@click.option("--extractor", metavar="SPEC", default="lite0:224", help=MAKER)
@download_option
@cache_option
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Documents whose picture cannot be read keep their text alone; says which.",
)
@resplit_option
@quiet_option
@json_option
def beir(
    source: Path,
    out: Path,
    judged: str,
    learned: str | None,
    extractor: str,
    allow_download: bool,
    cache: Path | None,
    skip_bad: bool,
    resplit: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """A corpus in BEIR's form: corpus.jsonl, queries.jsonl and qrels/*.tsv in the folder SOURCE.

    A document's field image is the path of its picture; without pictures it is a corpus of texts alone. `spdq evaluate`
    judges a model by what the queries should find.
    """
    from spdq.data.beir import load_beir
    from spdq.evaluation.trec import read_qrels

    target = Target(out, "clicks", None, None, resplit, as_json)
    target.check()
    maker = feature_maker(extractor, allow_download, cache)
    qrels = source / "qrels"
    to_judge = read_qrels(qrels / f"{judged}.tsv")
    file = qrels / f"{learned or 'train'}.tsv"
    to_learn = read_qrels(file) if learned or (file.is_file() and judged != "train") else {}
    with way_on(target, cache), progress_bar(BAR, quiet) as progress:
        made, found = load_beir(source, to_judge, to_learn, maker, progress, skip_bad=skip_bad)
    target.save(target.settle(lambda kind, seed: made), found.describe())
