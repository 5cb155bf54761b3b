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
@click.option("--ray", "on_ray", is_flag=True, help='Encode by many processes of Ray (extra "ray").')
@click.option(
    "--address", help="Of a running Ray cluster, HOST:PORT or auto.  [default: a private one, here]"
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes of Ray that encode.  [default: one a CPU, or one a GPU for networks that use it]",
)
@click.option("--resume", is_flag=True, help="Go on with an encoding by Ray that did not finish.")
@quiet_option
@json_option
def encode(
    model_dir: Path,
    source: str,
    out: Path,
    modality: Any,
    on_ray: bool,
    address: str | None,
    workers: int | None,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Turn the items of INPUT into codes and write them to OUT.h5, for `spdq index build`.

    \b
    INPUT is one of
      FILE.h5       a data set
      FOLDER        pictures; an id is a path from there
      FILE.jsonl    {"id": ..., "text": ...} or "image": a path, or both, one a line;
                    a unit may lack either and is coded by the other
      FILE          texts, one a line; an id is a line's number
      -             standard input: texts or, where the first line starts with {, JSON lines

    With --ray the codes are the same. What is done stays beside OUT.h5 after Ctrl-C or any failure, and the same
    command with --resume goes on.
    """
    from spdq.data.codes import Codes
    from spdq.errors import UsageError
    from spdq.models import load_model
    from spdq.models.encoding import dataset_items, encode_items
    from spdq_cli.encoding import load_dataset
    from spdq_cli.inputs import check_output, is_data_set, read_items

    if not on_ray and (address is not None or workers is not None or resume):
        raise UsageError("--address, --workers and --resume are for encoding by Ray: add --ray")
    check_output(out)
    model = load_model(model_dir)
    with progress_bar("Encoding", quiet) as progress:
        if is_data_set(source):
            items = dataset_items(model, load_dataset(model, Path(source), modality), modality)
        else:
            items = read_items(source, modality)
        if on_ray:
            from spdq.distributed.encoding import encode_on_ray, working_path

            try:
                made, missing = encode_on_ray(
                    model,
                    model_dir,
                    items,
                    modality,
                    out,
                    address=address,
                    n_workers=workers,
                    resume=resume,
                    progress=progress,
                )
            except KeyboardInterrupt as stop:
                stop.args = (_way_on(working_path(out)),)
                raise
        else:
            codes, missing = encode_items(model, items, progress)
            prints = (model.fingerprint, model.codebooks.fingerprint)
            made = Codes(items.ids, codes, model.codebooks.bits, *prints, modality)
            made.save(out)
    if missing.without_words:
        note(
            f"{missing.without_words} of {len(items)} texts have no known word: nothing tells their codes apart"
        )
    facts = {"file": str(out), "items": len(made), "bits": made.bits, "modality": modality}
    if modality == "unit":
        facts |= {"without_image": missing.without_image, "without_text": missing.without_text}
    print_facts(facts, as_json)


def _way_on(folder: Path) -> str:
    if folder.exists():
        return "interrupted: the same command with --resume goes on from what is done"
    return "interrupted before anything was done: the same command starts again"
