"""``spdq encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spdq_cli.errors import note
from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import progress_bar, quiet_option

PATH = click.Path(path_type=Path)


@click.command(short_help="Turn images or texts into codes.")
@click.argument("model_dir", type=PATH)
@click.argument("source", metavar="INPUT")
@click.argument("out", metavar="OUT.h5", type=PATH)
@click.option(
    "--modality", type=click.Choice(["image", "text", "unit"]), required=True, help="What to make of INPUT."
)
@quiet_option
@json_option
def encode(model_dir: Path, source: str, out: Path, modality: Any, quiet: bool, as_json: bool) -> None:
    """Turn the items of INPUT into codes and write them to OUT.h5, for `spdq index build`.

    \b
    INPUT is one of
      FILE.h5       a data set
      FOLDER        pictures; an id is a path from there
      FILE.jsonl    {"id": ..., "text": ...} or "image": a path, or both, one a line;
                    a unit may lack either and is coded by the other
      FILE          texts, one a line; an id is a line's number
      -             standard input: texts or, where the first line starts with {, JSON lines
    """
    from spdq.data.codes import Codes
    from spdq.models import load_model
    from spdq.models.encoding import dataset_items, encode_items
    from spdq_cli.encoding import load_dataset
    from spdq_cli.inputs import check_output, is_data_set, read_items

    check_output(out)
    model = load_model(model_dir)
    with progress_bar("Encoding", quiet) as progress:
        if is_data_set(source):
            items = dataset_items(model, load_dataset(model, Path(source), modality), modality)
        else:
            items = read_items(source, modality)
        codes, missing = encode_items(model, items, progress)
    if missing.without_words:
        note(
            f"{missing.without_words} of {len(items)} texts have no known word: nothing tells their codes apart"
        )
    made = Codes(
        items.ids, codes, model.codebooks.bits, model.fingerprint, model.codebooks.fingerprint, modality
    )
    made.save(out)
    facts = {"file": str(out), "items": len(made), "bits": made.bits, "modality": modality}
    if modality == "unit":
        facts |= {"without_image": missing.without_image, "without_text": missing.without_text}
    print_facts(facts, as_json)
