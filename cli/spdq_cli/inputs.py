"""What ``spdq encode`` reads beside data sets: folders of pictures, texts a line, JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np

from spdq.data.items import Items
from spdq.data.pictures import picture_names
from spdq.errors import DataError, NotFoundError, UsageError

STDIN = "-"
DATA_SETS = (".h5", ".hdf5")
JSON_LINES = (".jsonl", ".ndjson")
_NEEDS = {"image": ("image",), "text": ("text",), "unit": ("image", "text")}


def is_data_set(source: str) -> bool:
    """Whether a source is to be read as a data set: by the ending of its name."""
    return source.lower().endswith(DATA_SETS)


def check_output(path: Path) -> None:
    """Say before the work, not after it, that a file cannot be written. Raises NotFoundError, UsageError."""
    if not path.parent.is_dir():
        raise NotFoundError(f"folder not found: {path.parent}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, expected the name of a file to write")


def read_items(source: str, modality: str) -> Items:
    """Read a folder of pictures, a file of texts, JSON lines, or the latter two from standard input ("-").

    Raises
    ------
    NotFoundError
        No such file or folder.
    DataError
        No items, an empty text, a line that is not UTF-8 or not the JSON that is expected.
    UsageError
        A source that has not what the modality needs.
    """
    if source != STDIN and Path(source).is_dir():
        return _folder(Path(source), modality)
    lines = list(read_lines(source))
    if not lines:
        raise DataError(f"{_name(source)} has no lines: expected one item in each")
    is_json = source.lower().endswith(JSON_LINES) or (source == STDIN and lines[0][1].startswith("{"))
    return _json_items(source, lines, modality) if is_json else _text_items(source, lines, modality)


def read_lines(source: str) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of a UTF-8 file, or of standard input as it comes in.

    Raises
    ------
    NotFoundError
        The file cannot be read.
    DataError
        A line is not UTF-8.
    """
    try:
        with _opened(source) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise DataError(f"{_name(source)} line {number}: not UTF-8 text") from None
    except FileNotFoundError:
        raise NotFoundError(f"file not found: {source}") from None
    except OSError as error:
        raise NotFoundError(f"cannot read {source}: {error.strerror}") from None


def _opened(source: str) -> AbstractContextManager[IO[bytes]]:
    if source == STDIN:
        return nullcontext(sys.stdin.buffer)
    return open(source, "rb")


def _folder(folder: Path, modality: str) -> Items:
    """All pictures in a folder and the folders in it; ids are their paths from there."""
    if modality != "image":
        raise UsageError(f"{folder} is a folder of pictures: use --modality image, not {modality}")
    ids = picture_names(folder)
    return Items(np.array(ids), None, [folder / name for name in ids])


def _text_items(source: str, lines: list[tuple[int, str]], modality: str) -> Items:
    if modality != "text":
        raise UsageError(f"{_name(source)} has texts only: use --modality text, not {modality}")
    for number, text in lines:
        if not text.strip():
            raise DataError(f"{_name(source)} line {number} is empty: expected a text in each line")
    return Items(np.array([number for number, _ in lines]), [text for _, text in lines], None)


def _json_items(source: str, lines: list[tuple[int, str]], modality: str) -> Items:
    """Objects with "id" and "text" or "image" or both; pictures' paths start from the folder of the file."""
    needed = _NEEDS[modality]
    records: dict[int | str, dict[str, Any]] = {}
    kind: type | None = None
    for number, line in lines:
        where = f"{_name(source)} line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{where}: not JSON") from None
        key = record.get("id") if isinstance(record, dict) else None
        if not isinstance(key, int | str) or isinstance(key, bool):
            raise DataError(f'{where}: expected an object with an "id", a string or an integer')
        given = [name for name in needed if modality != "unit" or record.get(name) is not None]
        if not given:
            raise DataError(f'{where}: a unit needs an "image" or a "text"')
        for name in given:
            value = record.get(name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f'{where}: expected "{name}", a string that is not empty')
        if (kind := kind or type(key)) is not type(key):
            raise DataError(f"{where}: expected ids all strings or all integers, got both")
        if key in records:
            raise DataError(f'{where}: duplicate id "{key}"')
        records[key] = record
    folder = Path() if source == STDIN else Path(source).parent
    try:
        ids = np.array(list(records), np.int64 if kind is int else None)
    except OverflowError:
        raise DataError(f"{_name(source)}: an integer id is beyond 64 bits") from None
    texts = [record.get("text") or "" for record in records.values()] if "text" in needed else None
    names = [record.get("image") for record in records.values()]
    images = [folder / name if name else None for name in names] if "image" in needed else None
    return Items(ids, texts, images)


def _name(source: str) -> str:
    return "standard input" if source == STDIN else source
