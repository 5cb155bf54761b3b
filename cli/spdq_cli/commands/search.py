"""``spdq search``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from spdq_cli.output import json_option, print_json, print_table
from spdq_cli.shards import open_to_read, ray_options

if TYPE_CHECKING:
    from spdq.engine import Engine
    from spdq.hits import Hit
    from spdq.models.spaces import Modality

PATH = click.Path(path_type=Path)


class _Answer(NamedTuple):
    query: int | str
    hits: list[Hit]


@click.command(short_help="Search an index by text or image.")
@click.argument("index_dir", type=PATH)
@click.option("--text", metavar="T", help="The text to search for; - reads one a line from standard input.")
@click.option("--image", metavar="FILE", type=PATH, help="The picture to search for.")
@click.option("--queries", metavar="FILE.h5", type=PATH, help="Search for the query rows of a data set.")
@click.option(
    "--modality",
    type=click.Choice(["text", "image"]),
    default="text",
    help="What to take of --queries; a text's first line.",
)
@click.option("-k", type=click.IntRange(min=1), default=10, help="How many hits.")
@click.option(
    "--where", metavar="EXPR", help="Only items with such attributes: \"label = 'cat' and year >= 2020\"."
)
@click.option(
    "--range", "radius", metavar="R", type=float, help="All items nearer than this distance, instead of k."
)
@click.option(
    "--model",
    "model_dir",
    metavar="MODEL_DIR",
    type=PATH,
    help="The model to embed queries with.  [default: the one the index was built with]",
)
@click.option(
    "--instance-weight",
    metavar="W",
    type=click.FloatRange(min=0),
    help="Weight of SPDQ's shared part in a query: 0 ranks by meaning alone, more prefers the very item; of a gated "
    "embedding's guess.  [default: the model's own]",
)
@ray_options
@json_option
def search(
    index_dir: Path,
    text: str | None,
    image: Path | None,
    queries: Path | None,
    modality: Any,
    k: int,
    where: str | None,
    radius: float | None,
    model_dir: Path | None,
    instance_weight: float | None,
    on_ray: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Find the k items of an index that are closest to a text, a picture, or each query of a data set.

    With --json each query gives one line: {"query", "hits": [{"rank", "id", "distance"}]}. The distance is an
    inner product: larger is closer.

    In --where, AND, OR, NOT, IN, LIKE and so on are those of SQL; has(tags, 'red') asks a set of strings.
    """
    from spdq.engine import Engine
    from spdq.errors import UsageError

    if sum(given is not None for given in (text, image, queries)) != 1:
        raise UsageError("expected exactly one of --text, --image and --queries")
    with open_to_read(index_dir, on_ray, address) as index:
        engine = Engine(model_dir, index)
        options: dict[str, Any] = {
            "k": k,
            "instance_weight": instance_weight,
            "filter": None if where is None else index.filter(where=where),
            "radius": radius,
        }
        if queries is not None:
            answers = _dataset_answers(engine, queries, modality, **options)
        elif image is not None:
            answers = iter([_Answer(str(image), engine.search(image=image, **options))])
        else:
            answers = _text_answers(engine, str(text), options)
        if as_json:
            for answer in answers:
                print_json({"query": answer.query, "hits": [hit._asdict() for hit in answer.hits]})
            return
        name = "inner product" if index.metric == "ip" else "squared distance"
        rows = [(answer.query, hit.rank, hit.id, hit.distance) for answer in answers for hit in answer.hits]
        print_table(("query", "rank", "id", name), rows)


def _text_answers(engine: Engine, text: str, options: dict[str, Any]) -> Iterator[_Answer]:
    from spdq.errors import DataError
    from spdq_cli.errors import note
    from spdq_cli.inputs import STDIN, read_lines

    for number, line in read_lines(STDIN) if text == STDIN else [(None, text)]:
        try:
            hits = engine.search(text=line, **options)
        except DataError as error:
            raise DataError(f"standard input line {number}: {error}" if number else str(error)) from None
        if unknown := engine.unknown_words(line):
            note(f"unknown words left out: {', '.join(unknown)}")
        yield _Answer(line, hits)


def _dataset_answers(
    engine: Engine,
    file: Path,
    modality: Modality,
    k: int,
    instance_weight: float | None,
    filter: Any,
    radius: float | None,
) -> Iterator[_Answer]:
    import numpy as np

    from spdq.errors import DataError
    from spdq.hits import Hit
    from spdq.models.rows import embed_rows, text_features
    from spdq_cli.encoding import load_dataset

    dataset = load_dataset(engine.model, file, modality)
    if dataset.split is None:
        raise DataError(f"{file} has no split, so no query rows: make one with `spdq dataset split`")
    rows = dataset.split.query
    if modality == "image":
        vectors = embed_rows(engine.model, dataset, "i", rows)
    else:
        vectors = engine.model.embed_text(text_features(engine.model, dataset, rows, first_line=True))
    vectors = engine.model.weigh_query(vectors, modality, instance_weight)
    if radius is None:
        distances, ids = engine.index.search(vectors, k, filter)
        found = list(zip(distances, ids, strict=True))
    else:
        limits, near, ids = engine.index.range_search(vectors, radius, filter)
        found = list(zip(np.split(near, limits[1:-1]), np.split(ids, limits[1:-1]), strict=True))
    for query, (row_distances, row_ids) in zip(dataset.ids[rows].tolist(), found, strict=True):
        pairs = zip(row_ids.tolist(), row_distances.tolist(), strict=True)
        yield _Answer(
            query, [Hit(rank, key, distance) for rank, (key, distance) in enumerate(pairs, start=1)]
        )
