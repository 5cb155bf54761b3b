"""``spdq build``."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from spdq_cli.commands.import_own import MAKER, download_option, feature_maker
from spdq_cli.commands.import_texts import text_extractor_option, text_feature_maker, with_text_features
from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import Progress, progress_bar, quiet_option

PATH = click.Path(path_type=Path)


@click.command(short_help="Make a search engine of a folder of pictures.")
@click.argument("pictures", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--extractor", metavar="SPEC", default="lite0:224", help=MAKER)
@text_extractor_option
@download_option
@click.option(
    "--model",
    "system",
    type=click.Choice(["spdq", "gated", "pictures"]),
    help="spdq: labelled pairs or pairs; gated: pairs; pictures: pictures by pictures alone.  "
    "[default: spdq, without texts pictures]",
)
@click.option("--bits", type=click.Choice(["16", "32", "64", "128"]), default="64", help="Length of a code.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="For everything drawn at random.")
@click.option("--skip-bad", is_flag=True, help="Leave pictures out that cannot be read, and say which.")
@quiet_option
@json_option
def build(
    pictures: Path,
    out: Path,
    extractor: str,
    text_extractor: str,
    allow_download: bool,
    system: str | None,
    bits: str,
    seed: int,
    skip_bad: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make all that a search needs of the folder PICTURES, in the folder OUT: data set, model and index.

    PICTURES is as for `spdq dataset import folder`: with metadata.jsonl, .csv or .parquet, in folders that name what
    they hold, or pictures and nothing else; then pictures are found by pictures. The same command goes on after an
    interruption, and after a change of PICTURES extracts only what is new. Then `spdq serve OUT` answers.
    """
    from spdq_cli.engine_folder import FEATURES
    from spdq_cli.errors import note
    from spdq_cli.picture_engine import make_engine

    maker = feature_maker(extractor, allow_download, out / FEATURES)
    texts = text_feature_maker(text_extractor, allow_download, out / FEATURES)
    with ExitStack() as bars:

        def bar(stage: str) -> Progress | None:
            bars.close()
            return bars.enter_context(progress_bar(stage, quiet))

        try:
            made = make_engine(
                pictures,
                out,
                maker,
                partial(with_text_features, maker=texts, quiet=quiet),
                system,
                int(bits),
                seed,
                skip_bad,
                bar,
            )
        except KeyboardInterrupt as stop:
            stop.args = ("interrupted: the same command goes on from what is done",)
            raise
    print_facts(made, as_json)
    command = ["spdq", "serve", str(out), "--picture-folder", str(pictures)]
    note(f"to search: {shlex.join(command)}")
