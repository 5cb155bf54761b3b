"""``spdq dataset import clicks``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.output import json_option
from spdq_cli.progress import progress_bar, quiet_option
from spdq_cli.target import PATH, Target, out_argument, resplit_option

FOLDER_EXTRACTOR = "lite0:224"


@click.command()
@click.argument("log", type=PATH)
@out_argument
@click.option(
    "--images",
    required=True,
    metavar="FOLDER|DATA.h5",
    type=PATH,
    help="What the log's column image names: pictures by their paths in a folder, or items of a data set by their "
    "ids. All are items of OUT.h5, clicked or not.",
)
@click.option(
    "--extractor",
    metavar="SPEC",
    help=f"Maker of the image features.  [default: {FOLDER_EXTRACTOR} for a folder; the data set's features]",
)
@click.option(
    "--min-clicks",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Leave out pairs of a query and an image with fewer clicks in all.",
)
@click.option(
    "--hold-out",
    metavar="SHARE",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.1,
    help="Share of the queries that no model may learn from and all are judged by.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="For the draw of held-out queries.")
@click.option("--skip-unknown", is_flag=True, help="Leave out rows of images that are not there.")
@resplit_option
@json_option
@quiet_option
def clicks(
    log: Path,
    out: Path,
    images: Path,
    extractor: str | None,
    min_clicks: int,
    hold_out: float,
    seed: int,
    skip_unknown: bool,
    resplit: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """A click log: pictures, and how often they were clicked for text queries.

    LOG has the columns query, image and clicks: .tsv with a header line, .jsonl (both may be .gz, too), or
    .parquet. Rows of the same query and image are added up.
    """
    from spdq.data import Dataset
    from spdq.data.click_sets import folder_items, with_clicks, with_image_features
    from spdq.data.clicks import read_clicks
    from spdq.features import image_extractor
    from spdq_cli.inputs import is_data_set

    target = Target(out, "clicks", seed, None, resplit, as_json)
    target.check()
    is_folder = not is_data_set(str(images))
    spec = extractor or (FOLDER_EXTRACTOR if is_folder else None)
    maker = None if spec is None else image_extractor(spec)
    items = folder_items(images) if is_folder else Dataset.load(images)
    with progress_bar("Click log", quiet) as progress:
        read, found = read_clicks(
            log, items.ids, min_clicks=min_clicks, skip_unknown=skip_unknown, progress=progress
        )
    made = target.settle(lambda _, seed: with_clicks(items, read, hold_out, seed))
    if maker is not None:
        with progress_bar("Image features", quiet) as progress:
            made = with_image_features(made, maker, progress)
    target.save(made, {"log": found.describe()})
