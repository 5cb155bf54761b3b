"""``spdq evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json, print_table, write_json_file
from spdq_cli.progress import progress_bar, quiet_option

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.evaluation import Figure
    from spdq_benchmarks.evaluation import Coding, Direction

PATH = click.Path(path_type=Path)
COLUMNS = (
    "protocol",
    "direction",
    "split",
    "labels",
    "coding",
    "bits",
    "value",
    "lowest",
    "highest",
    "chance",
)


@click.command(short_help="Judge a model on a data set's split.")
@click.argument("model_dir", type=PATH)
@click.argument("data", metavar="DATA.h5", type=PATH)
@click.option(
    "--protocol",
    "protocols",
    metavar="NAME",
    multiple=True,
    help="Such as map@50, map@all, instance-recall@10, ndcg@10; may be repeated.  [default: by the kind of split]",
)
@click.option(
    "--direction",
    type=click.Choice(["i2t", "t2i", "t2u", "i2u", "i2i", "t2t", "both", "all"]),
    help="Query modality, then what is searched: i image, t text, u unit; both: i2t and t2i; all: the six.  "
    "[default: both, of a click log t2i]",
)
@click.option(
    "--labels",
    metavar="PREFIX",
    default="",
    show_default=False,
    help="Relevant is what shares a label whose name starts so.  [default: any label]",
)
@click.option("--vectors", is_flag=True, help="Also judge the float vectors that the codes stand for.")
@click.option(
    "--upper-bound",
    is_flag=True,
    help="Also judge codes made with the database items' labels, which no search has (recipe paper only).",
)
@click.option("--whole-text", is_flag=True, help="Query by whole texts, not by their first lines.")
@click.option(
    "--instance-weight",
    metavar="W",
    type=click.FloatRange(min=0),
    help="Weight of SPDQ's shared part in a query: 0 ranks by meaning alone, more prefers the very item; of a gated "
    "embedding's guess.  [default: the model's own]",
)
@quiet_option
@json_option
def evaluate(
    model_dir: Path,
    data: Path,
    protocols: tuple[str, ...],
    direction: Any,
    labels: str,
    vectors: bool,
    upper_bound: bool,
    whole_text: bool,
    instance_weight: float | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Judge a model on the split of DATA.h5 and write the figures to MODEL_DIR/eval.json.

    Each figure is the value expected over random order of tied items, between the lowest and highest that any
    order gives; chance is what a random ranking reaches.
    """
    from spdq.models import load_model
    from spdq_benchmarks.evaluation import judge
    from spdq_cli.encoding import load_dataset

    model = load_model(model_dir)
    dataset = load_dataset(model, data)
    codings: list[Coding] = ["codes"]
    if vectors:
        codings.append("vectors")
    if upper_bound:
        codings.append("label codes")
    with progress_bar("Queries", quiet) as progress:
        judgements = judge(
            model,
            dataset,
            directions=_directions(dataset, direction),
            protocols=protocols,
            labels=labels,
            codings=codings,
            whole_text_queries=whole_text,
            instance_weight=instance_weight,
            progress=progress,
        )
    chance = {figure.protocol: figure for figure in _chance(dataset, judgements, labels)}
    figures = [
        judgement.to_json() | {"chance": chance[judgement.figure.protocol].to_json()["value"]}
        for judgement in judgements
    ]
    record = {
        "dataset": dataset.name,
        "model_fingerprint": model.fingerprint,
        "text_queries": _text_queries(dataset, whole_text),
        "instance_weight": instance_weight,
        "figures": figures,
    }
    write_json_file(model_dir / "eval.json", record)
    if as_json:
        print_json(record)
        return
    note(f"{dataset.name}: a text query is its item's {record['text_queries']}")
    print_table(COLUMNS, [[_shown(figure, column) for column in COLUMNS] for figure in figures])


def _directions(dataset: Dataset, asked: Any) -> tuple[Direction, ...]:
    from spdq_benchmarks.evaluation import CROSS_MODAL, SIX_TASKS

    if asked is None:
        asked = "t2i" if dataset.grades is not None else "both"
    return {"both": CROSS_MODAL, "all": SIX_TASKS}.get(asked, (asked,))


def _text_queries(dataset: Dataset, whole_text: bool) -> str:
    if dataset.grades is not None:
        return "held-out query of the click log"
    if dataset.text_features is not None and dataset.text_extractor is None:
        return "text features"
    return "whole text" if whole_text else "first line of text"


def _chance(dataset: Dataset, judgements: Any, labels: str) -> list[Figure]:
    """What a random ranking reaches under each protocol that was judged by."""
    import numpy as np

    from spdq.evaluation import evaluate_instances
    from spdq_benchmarks.evaluation import chance_level

    names = list(dict.fromkeys(judgement.figure.protocol for judgement in judgements))
    by_instance = [name for name in names if name.startswith("instance-recall")]
    by_label = [name for name in names if name not in by_instance]
    figures = chance_level(dataset, by_label, labels) if by_label else []
    split = dataset.split
    if by_instance and split is not None:
        tied = np.broadcast_to(np.float32(0), (len(split.query), len(split.database)))
        own = np.searchsorted(split.database, split.query)
        figures += evaluate_instances(tied, own, by_instance)
    return figures


def _shown(figure: dict[str, Any], column: str) -> Any:
    value = figure[column]
    if column == "labels":
        if figure["protocol"].startswith("instance-recall"):
            return "not used"
        return value or "all"
    return float(value) if column in ("value", "lowest", "highest", "chance") and value is not None else value
