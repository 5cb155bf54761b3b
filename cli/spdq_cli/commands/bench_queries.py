"""``spdq bench queries``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json

PATH = click.Path(path_type=Path)


@click.command(short_help="Measure what codebooks should be learned from for queries of the other modality.")
@click.argument("data", metavar="[DATA.h5]", type=PATH, required=False)
@click.option(
    "--model", "model_dir", metavar="MODEL_DIR", type=PATH,
    help="Embeds the items of DATA.h5.  [default: its features are the vectors]",
)  # fmt: skip
@click.option(
    "--codes", type=click.Choice(["opq", "aq"]), multiple=True,
    help="Product codes with a rotation, or additive ones; may be repeated.  [default: both]",
)  # fmt: skip
@click.option(
    "--bits",
    type=click.Choice(["32", "64", "128"]),
    multiple=True,
    help="May be repeated.  [default: all three]",
)
@click.option(
    "--rows", "n_items", type=click.IntRange(min=1000), default=20_000, show_default=True,
    help="Images that are made without DATA.h5; there is a text for one in five.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Of codebooks and made data."
)
@click.option(
    "--texts",
    "n_texts",
    type=click.IntRange(min=1),
    help="How many texts are learned for.  [default: those of half]",
)
@click.option(
    "--develop", is_flag=True, help="Judge by the queries that settings may be chosen by, not the test's."
)
@click.option("-q", "--quiet", is_flag=True, help="Do not tell what is being measured.")
@json_option
def queries(
    data: Path | None,
    model_dir: Path | None,
    codes: tuple[str, ...],
    bits: tuple[str, ...],
    n_items: int,
    seeds: int,
    n_texts: int | None,
    develop: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Learn codebooks of images alone, of both modalities, and of images for the queries that will be asked, and print
    how much of the exact answers they keep.

    10-recall@k is the share of the 10 nearest vectors that is among the nearest k codes. Without DATA.h5 the vectors
    are made: two modalities around means of their own, that vary in other directions.
    """
    from dataclasses import asdict

    from spdq.data.dataset import Dataset
    from spdq.errors import UsageError
    from spdq.models import load_model
    from spdq_benchmarks import other_modality as benchmark

    if data is None and model_dir is not None:
        raise UsageError("--model is for DATA.h5: name the data set")
    given = None
    if data is not None:
        given = benchmark.pairs_of(Dataset.load(data), None if model_dir is None else load_model(model_dir))
    rows: list[benchmark.Row] = []
    for seed in range(seeds):
        pairs = given or benchmark.made_pairs(n_items, n_items // 5, seed)
        asked = benchmark.split_queries(pairs, develop, n_texts)
        lengths = [int(length) for length in bits] or [32, 64, 128]
        say = (lambda line: None) if quiet else note
        rows += benchmark.judge_learning(pairs, asked, codes or benchmark.CODES, lengths, seed, say)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        click.echo(benchmark.table(rows))
