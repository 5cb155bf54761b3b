"""``spdq dataset import``: one command a source format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.commands.import_beir import beir
from spdq_cli.commands.import_clicks import clicks
from spdq_cli.commands.import_own import (
    BAR,
    MAKER,
    cache_option,
    download_option,
    embeddings,
    feature_maker,
    folder,
    made_pictures,
    source_argument,
    table,
    webdataset,
)
from spdq_cli.progress import progress_bar, quiet_option
from spdq_cli.target import PATH, Target, into_target

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.data.extractor import ImageExtractor, Progress
    from spdq.data.splits import SplitKind


def _only_with_extractor(extractor: str | None, allow_download: bool, cache: Path | None = None) -> None:
    """Published features are made by none, so there is nothing to fetch or to keep."""
    from spdq.errors import UsageError

    given = ["--allow-download"] * allow_download + ["--cache"] * (cache is not None)
    if extractor is None and given:
        raise UsageError(f"{' and '.join(given)}: needs --extractor")


class _Formats(click.Group):
    """Says which formats are known where another is asked for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            from spdq.errors import UsageError

            raise UsageError(f"unknown format {args[0]!r}: known are {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group("import", cls=_Formats, short_help="Make a data set from a source format.")
def import_() -> None:
    """Make a data set file from a source format.

    A file that is there already is replaced, but not where it holds the same items with another split.
    """


for command in (beir, clicks, embeddings, folder, table, webdataset):
    import_.add_command(command)


def _leave_kind_out(target: Target, form: str) -> None:
    """Some forms of data come with a split of their own."""
    from spdq.errors import UsageError

    if target.kind is not None:
        raise UsageError(f"--form {form} has a split of its own kind: leave --split {target.kind} out")


def _emoji(
    form: str, pictures: Path, maker: ImageExtractor, progress: Progress | None, kind: SplitKind, seed: int
) -> Dataset:
    from spdq.data.emoji import load_emoji
    from spdq.data.emoji_clicks import load_emoji_clicks
    from spdq.data.emoji_drawings import load_emoji_drawings
    from spdq.features.tokens import words

    if form == "drawings":
        return load_emoji_drawings(pictures, maker, progress, seed)
    if form == "clicks":
        return load_emoji_clicks(pictures, maker, words, progress, seed)
    return load_emoji(pictures, maker, progress, kind, seed)


@import_.command()
@into_target
@click.option(
    "--form",
    type=click.Choice(["names", "drawings", "clicks"]),
    default="names",
    help="names: pictures and names; drawings: each emoji in two drawings, to find one by the other; "
    "clicks: pictures and a click log made of the names.",
)
@click.option("--extractor", metavar="SPEC", help=f"{MAKER}  [default: lite0:128; of drawings lite0:128:2x2]")
@download_option
@cache_option
@quiet_option
def emoji(
    target: Target, form: str, extractor: str | None, allow_download: bool, cache: Path | None, quiet: bool
) -> None:
    """1,898 emoji with their names in 14 languages, from the packages of the extra "demo".

    The pictures go to the folder OUT-pictures beside OUT.h5. Twemoji is under CC BY 4.0, OpenMoji (the second
    drawing) under CC BY-SA 4.0.
    """
    if form != "names":
        _leave_kind_out(target, form)
    spec = extractor or ("lite0:128:2x2" if form == "drawings" else "lite0:128")
    maker = feature_maker(spec, allow_download, cache)
    with made_pictures(target) as pictures:
        with progress_bar(BAR, quiet) as progress:
            made = target.settle(lambda kind, seed: _emoji(form, pictures, maker, progress, kind, seed))
        target.save(made)


@import_.command()
@source_argument
@into_target
@click.option(
    "--features",
    type=click.Choice(["sift", "cnn"]),
    default="sift",
    help="sift: raw_features.mat; cnn: wiki_cnn.mat.",
)
def wikipedia(target: Target, source: Path, features: Any) -> None:
    """Wikipedia featured articles: the published features in the folder SOURCE."""
    from spdq.data.wikipedia import load_wikipedia

    target.save(target.settle(lambda kind, seed: load_wikipedia(source, features, kind, seed)))


@import_.command()
@source_argument
@into_target
@click.option(
    "--form",
    type=click.Choice(["photos", "clicks"]),
    default="photos",
    help="photos: photos and tags; clicks: also a click log made of the tags.",
)
@click.option("--extractor", metavar="SPEC", default="lite0:224", help=MAKER)
@download_option
@cache_option
@quiet_option
def mirflickr(
    target: Target,
    source: Path,
    form: str,
    extractor: str,
    allow_download: bool,
    cache: Path | None,
    quiet: bool,
) -> None:
    """MIRFlickr-25K in its original folders under SOURCE; the photos stay where they are."""
    from spdq.data.mirflickr import load_mirflickr
    from spdq.data.mirflickr_clicks import load_mirflickr_clicks

    if form == "clicks":
        _leave_kind_out(target, form)
    maker = feature_maker(extractor, allow_download, cache)
    with progress_bar(BAR, quiet) as progress:
        made = target.settle(
            lambda kind, seed: (
                load_mirflickr_clicks(source, maker, progress, seed)
                if form == "clicks"
                else load_mirflickr(source, maker, progress, kind, seed)
            )
        )
    target.save(made)


@import_.command()
@source_argument
@into_target
@click.option(
    "--concepts",
    type=click.Choice(["10", "21", "81"]),
    default="10",
    help="10: TC10, the most frequent; 21: TC21; 81: all.",
)
@click.option(
    "--features",
    type=click.Choice(["bow", "lowlevel"]),
    help="Published image features: bow: 500 counts of visual words; lowlevel: colours, edges, texture.  "
    "[default: bow]",
)
@click.option(
    "--extractor",
    metavar="SPEC",
    help="Maker of features of the photos in SOURCE/Flickr.  [default: the published features]",
)
@download_option
@cache_option
@quiet_option
def nuswide(
    target: Target,
    source: Path,
    concepts: str,
    features: Any,
    extractor: str | None,
    allow_download: bool,
    cache: Path | None,
    quiet: bool,
) -> None:
    """NUS-WIDE in its original text files under SOURCE."""
    from spdq.data.nuswide import load_nuswide
    from spdq.errors import UsageError

    if features is not None and extractor is not None:
        raise UsageError("--features and --extractor exclude each other: choose one")
    _only_with_extractor(extractor, allow_download, cache)
    image: Any = features or "bow" if extractor is None else feature_maker(extractor, allow_download, cache)
    with progress_bar(BAR, quiet) as progress:
        made = target.settle(
            lambda kind, seed: load_nuswide(source, image, int(concepts), progress, kind, seed)
        )
    target.save(made)


@import_.command()
@source_argument
@into_target
@click.option(
    "--extractor",
    metavar="SPEC",
    help="Maker of the image features, for a release with pixels or pictures.  [default: the release's features]",
)
@download_option
@quiet_option
def matlab(target: Target, source: Path, extractor: str | None, allow_download: bool, quiet: bool) -> None:
    """A release of hashing research in MATLAB files: the folder SOURCE, or the file.

    FLICKR-25K.mat; mirflickr25k-*all.mat; nus-wide-tc10-*all.mat and nus-wide-tc21-*all.mat; imgList.mat,
    tagList.mat, labelList.mat; index.mat, caption.mat, label.mat; mir_cnn.mat and its like; iapr-tc12-rand.mat.
    """
    from spdq.data.matlab_items import Request
    from spdq.data.matlab_releases import find_release

    _only_with_extractor(extractor, allow_download)
    maker = None if extractor is None else feature_maker(extractor, allow_download)
    release = find_release(source)
    with progress_bar(BAR, quiet) as progress:
        made = target.settle(lambda kind, seed: release.load(Request(maker, progress, kind, seed)))
    target.save(made, release.describe())


@import_.command()
@source_argument
@into_target
def pascal(target: Target, source: Path) -> None:
    """Pascal Sentence: the features that DSCMR published, in the folder SOURCE."""
    from spdq.data.pascal import load_pascal

    target.save(target.settle(lambda kind, seed: load_pascal(source, kind, seed)))


@import_.command()
@click.argument("source", metavar="DATASET.json", type=PATH)
@click.argument("pictures", type=PATH)
@into_target
@click.option("--extractor", metavar="SPEC", default="lite0:224", help=MAKER)
@download_option
@cache_option
@click.option("--join-val", is_flag=True, help="Train on the photos of val, too; else they are left out.")
@quiet_option
def karpathy(
    target: Target,
    source: Path,
    pictures: Path,
    extractor: str,
    allow_download: bool,
    cache: Path | None,
    join_val: bool,
    quiet: bool,
) -> None:
    """Flickr8k, Flickr30k or COCO: Karpathy's DATASET.json, and the folder PICTURES of the photos it names."""
    from spdq.data.karpathy import load_karpathy

    maker = feature_maker(extractor, allow_download, cache)
    with progress_bar(BAR, quiet) as progress:
        made = target.settle(
            lambda kind, seed: load_karpathy(source, pictures, maker, progress, kind, seed, join_val=join_val)
        )
    target.save(made)
