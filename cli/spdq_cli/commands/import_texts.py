"""What ``spdq dataset import`` makes of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spdq_cli.progress import progress_bar

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.data.extractor import TextExtractor

WORDS = "tfidf"

text_extractor_option = click.option(
    "--text-extractor",
    metavar="SPEC",
    default=WORDS,
    help="Maker of the text features; tfidf weighs words and letters, and is learned in training.",
)


def text_feature_maker(spec: str, allow_download: bool, cache: Path | None) -> TextExtractor | None:
    """The extractor that was asked for, None for words; what it lacks is said before the work."""
    if spec == WORDS:
        return None
    from spdq.features.registry import downloading_text_extractor, text_extractor

    maker = downloading_text_extractor(spec) if allow_download else text_extractor(spec)
    # Missing weights are no fault of the first text.
    maker.settings()
    if cache is None:
        return maker
    from spdq.features.text_cache import CachedTextExtractor

    return CachedTextExtractor(maker, cache)


def with_text_features(made: Dataset, maker: TextExtractor | None, quiet: bool) -> Dataset:
    """The data set with text features, where these are asked for and there are texts."""
    from spdq_cli.errors import note

    if maker is None:
        return made
    if made.texts is None:
        note(f"no item has a text, so there is nothing for {maker.name}")
        return made
    with progress_bar("Text features", quiet) as progress:
        return made.with_text_features(maker, progress)
