"""A table of pictures: CSV, JSON lines or Parquet, whose rows name pictures anywhere below one folder."""

from __future__ import annotations

from pathlib import Path

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.folder import FolderFindings, load_items
from spdq.data.metadata import read_metadata
from spdq.data.splits import SplitKind
from spdq.errors import DataError, NotFoundError

ENDINGS = (".csv", ".jsonl", ".parquet")


def load_table(
    table: Path,
    extractor: ImageExtractor,
    pictures: Path | None = None,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
    skip_bad: bool = False,
) -> tuple[Dataset, FolderFindings]:
    """Make a data set of the pictures that a table names, in its order.

    The columns are those of the metadata of ``load_folder``, and the rest is as there. The name of the data set is
    the table's, without its ending.

    Parameters
    ----------
    table : its ending says what it is: .csv, .jsonl or .parquet.
    extractor : makes ``image_features`` (n, d) float32.
    pictures : the folder that ``file_name`` starts from, the table's own if None; becomes the ``root``.
    skip_bad : leave out pictures that are missing or cannot be read, and say so; else the first is an error.

    Raises
    ------
    NotFoundError
        There is no such table or folder, or a picture is missing; the first is named.
    DataError
        The table has another ending or is not as ``read_metadata`` expects, more than 10,000 different labels or
        fewer than 2 items, or a picture is broken.
    MissingExtraError
        Parquet without pyarrow.
    UsageError
        Unknown kind or negative seed.
    """
    if not table.is_file():
        what = "is no file, expected a table of pictures" if table.exists() else "file not found"
        raise NotFoundError(f"{table}: {what}")
    if table.suffix not in ENDINGS:
        raise DataError(f"{table}: expected a table that ends in {', '.join(ENDINGS)}")
    root = table.parent if pictures is None else pictures
    if not root.is_dir():
        what = "is a file, expected the folder of the pictures" if root.exists() else "folder not found"
        raise NotFoundError(f"{root}: {what}")
    metadata = read_metadata(table)
    return load_items(root, table.stem, metadata, extractor, progress, kind, seed, skip_bad, table)
