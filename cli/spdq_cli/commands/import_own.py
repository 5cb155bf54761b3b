"""``spdq dataset import`` of your own pictures and embeddings."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spdq_cli.commands.import_texts import text_extractor_option, text_feature_maker, with_text_features
from spdq_cli.progress import progress_bar, quiet_option
from spdq_cli.target import PATH, Target, into_target

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.data.extractor import ImageExtractor, Progress, TextExtractor
    from spdq.data.folder import FolderFindings
    from spdq.data.splits import SplitKind

    Load = Callable[[Progress | None, SplitKind, int], tuple[Dataset, FolderFindings]]

BAR = "Image features"
MAKER = "Maker of the image features."

source_argument = click.argument("source", type=PATH)


download_option = click.option(
    "--allow-download",
    is_flag=True,
    help="Let the extractor fetch weights that are not on this machine.  [default: never go to the network]",
)
cache_option = click.option(
    "--cache",
    metavar="DIR",
    type=PATH,
    help="Keep features in DIR, and extract only those of pictures and texts that are new to it.  [default: keep none]",
)


def feature_maker(extractor: str, allow_download: bool, cache: Path | None = None) -> ImageExtractor:
    """The extractor that was asked for; what it lacks is said before the work."""
    from spdq.features.registry import downloading_image_extractor, image_extractor

    maker = downloading_image_extractor(extractor) if allow_download else image_extractor(extractor)
    # Missing weights are no fault of the first picture.
    maker.settings()
    if cache is None:
        return maker
    from spdq.features.cache import CachedExtractor

    return CachedExtractor(maker, cache)


@contextmanager
def made_pictures(target: Target) -> Iterator[Path]:
    """The folder OUT-pictures beside OUT.h5; where it is new, an error leaves none."""
    pictures = target.out.with_name(f"{target.out.stem}-pictures")
    is_new = not pictures.exists()
    try:
        yield pictures
    except BaseException:
        if is_new:
            shutil.rmtree(pictures, ignore_errors=True)
        raise


@contextmanager
def way_on(target: Target, cache: Path | None) -> Iterator[None]:
    """An interruption says what is left of the import."""
    try:
        yield
    except KeyboardInterrupt as stop:
        way = "keep image features with --cache DIR to go on" if cache is None else "the same command goes on"
        stop.args = (f"interrupted, {target.out} is not written: {way}",)
        raise


def _pictures_options(command: Callable[..., None]) -> Callable[..., None]:
    """What all commands that read pictures of your own have."""
    for option in (
        quiet_option,
        click.option(
            "--skip-bad", is_flag=True, help="Leave pictures out that cannot be read, and say which."
        ),
        cache_option,
        download_option,
        text_extractor_option,
        click.option("--extractor", metavar="SPEC", default="lite0:224", help=MAKER),
    ):
        command = option(command)
    return command


def _import(target: Target, quiet: bool, cache: Path | None, texts: TextExtractor | None, load: Load) -> None:
    """Make the data set, write it, and show what was met."""
    findings: list[FolderFindings] = []

    def make(kind: SplitKind, seed: int) -> Dataset:
        with progress_bar(BAR, quiet) as progress:
            made, found = load(progress, kind, seed)
        findings.append(found)
        return with_text_features(made, texts, quiet)

    with way_on(target, cache):
        made = target.settle(make)
    target.save(made, findings[-1].describe())


@click.command()
@source_argument
@into_target
@_pictures_options
def folder(
    target: Target,
    source: Path,
    extractor: str,
    text_extractor: str,
    allow_download: bool,
    cache: Path | None,
    skip_bad: bool,
    quiet: bool,
) -> None:
    """Your own pictures in the folder SOURCE.

    Its metadata.jsonl, .csv or .parquet names them (file_name), with text, labels and attributes to filter by. Without
    it the folder a picture lies in is its label.
    """
    from spdq.data.folder import load_folder

    maker = feature_maker(extractor, allow_download, cache)
    texts = text_feature_maker(text_extractor, allow_download, cache)
    _import(
        target,
        quiet,
        cache,
        texts,
        lambda bar, kind, seed: load_folder(source, maker, bar, kind, seed, skip_bad),
    )


@click.command()
@click.argument("table", type=PATH)
@into_target
@click.option(
    "--pictures",
    metavar="FOLDER",
    type=PATH,
    help="The folder that the paths in file_name start from.  [default: the table's]",
)
@_pictures_options
def table(
    target: Target,
    table: Path,
    pictures: Path | None,
    extractor: str,
    text_extractor: str,
    allow_download: bool,
    cache: Path | None,
    skip_bad: bool,
    quiet: bool,
) -> None:
    """Your own pictures as a TABLE names them: .csv, .jsonl or .parquet.

    Its column file_name holds their paths below one folder; text and labels may be there, and other columns become
    attributes to filter by.
    """
    from spdq.data.table import load_table

    maker = feature_maker(extractor, allow_download, cache)
    texts = text_feature_maker(text_extractor, allow_download, cache)
    _import(
        target,
        quiet,
        cache,
        texts,
        lambda bar, kind, seed: load_table(table, maker, pictures, bar, kind, seed, skip_bad),
    )


@click.command()
@source_argument
@into_target
@_pictures_options
def webdataset(
    target: Target,
    source: Path,
    extractor: str,
    text_extractor: str,
    allow_download: bool,
    cache: Path | None,
    skip_bad: bool,
    quiet: bool,
) -> None:
    """Shards of a webdataset: SOURCE is a .tar file, or a folder of them.

    A sample is the files of one key: KEY.jpg, .jpeg, .png or .webp, KEY.txt (text), KEY.json (text, labels and
    attributes to filter by), KEY.cls (number of a class). The pictures go to the folder OUT-pictures beside OUT.h5.
    """
    from spdq.data.webdataset import load_webdataset

    maker = feature_maker(extractor, allow_download, cache)
    texts = text_feature_maker(text_extractor, allow_download, cache)
    with made_pictures(target) as pictures:
        _import(
            target,
            quiet,
            cache,
            texts,
            lambda bar, kind, seed: load_webdataset(source, pictures, maker, bar, kind, seed, skip_bad),
        )


@click.command()
@source_argument
@into_target
def embeddings(target: Target, source: Path) -> None:
    """Your own embeddings, in the folder SOURCE that clip-retrieval writes.

    img_emb/img_emb_0.npy and text_emb/text_emb_0.npy (one may be missing), and metadata/metadata_0.parquet with
    image_path (the ids), caption (the texts) and other columns, which become attributes to filter by.
    """
    from spdq.data.embeddings import load_embeddings

    target.save(target.settle(lambda kind, seed: load_embeddings(source, kind, seed)))
