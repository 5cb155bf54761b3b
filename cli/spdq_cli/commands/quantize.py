"""``spdq quantize``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import progress_bar, quiet_option

PATH = click.Path(path_type=Path)


@click.command(short_help="Learn codebooks from what will be searched.")
@click.argument("model_dir", type=PATH)
@click.argument("data", metavar="DATA.h5", type=PATH)
@click.argument("out_dir", type=PATH)
@click.option(
    "--modality",
    type=click.Choice(["image", "text", "unit"]),
    default="image",
    help="What of DATA.h5 will be searched.",
)
@click.option("--rows", type=click.Choice(["all", "database", "train"]), default="all", help="Of DATA.h5.")
@click.option(
    "--bits", type=click.Choice(["16", "32", "64", "128"]), help="Length of a code.  [default: the model's]"
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the codebooks.")
@quiet_option
@json_option
def quantize(
    model_dir: Path,
    data: Path,
    out_dir: Path,
    modality: str,
    rows: str,
    bits: str | None,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the model of MODEL_DIR to OUT_DIR with codebooks that are learned from the items of DATA.h5.

    Codebooks from training code best what was trained on. For an index of mostly new items those learned from the
    items themselves keep more of their order. The network stays; codes and indexes of MODEL_DIR need MODEL_DIR.
    """
    from spdq.errors import UsageError
    from spdq.models import load_model
    from spdq.models.directory import CONFIG
    from spdq.training import quantized_for
    from spdq_cli.encoding import load_dataset, sample_vectors
    from spdq_cli.sources import chosen_rows

    if (out_dir / CONFIG).exists():
        raise UsageError(f"{out_dir} already holds a model: choose another directory")
    model = load_model(model_dir)
    dataset = load_dataset(model, data, modality)
    chosen = chosen_rows(dataset, data, rows)
    with progress_bar("Embedding", quiet) as progress:
        vectors = sample_vectors(model, dataset, modality, chosen, seed, progress)
    made = quantized_for(model, vectors, None if bits is None else int(bits), seed)
    made.save_pretrained(out_dir)
    facts = {"model": str(out_dir), "bits": made.codebooks.bits, "items": len(vectors), "modality": modality}
    print_facts({**facts, "seed": seed, "fingerprint": made.fingerprint}, as_json)
