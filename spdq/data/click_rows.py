"""Rows of a click log, block by block: TSV and JSON lines (gzipped, too), and Parquet."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from spdq.data.dataset_checks import MAX_CLICKS
from spdq.data.extractor import Progress
from spdq.data.records import parse_json
from spdq.data.splits import Rows
from spdq.errors import DataError, MissingExtraError, NotFoundError, UsageError

COLUMNS = ("query", "image", "clicks")
BLOCK_BYTES = 4 << 20
"""About so much of a text file is in memory at once, and no line may be longer."""
BLOCK_ROWS = 1 << 16
ENDINGS = (".tsv", ".jsonl", ".tsv.gz", ".jsonl.gz", ".parquet")

_WHOLE = re.compile("-?[0-9]{1,18}")


@dataclass(frozen=True)
class ClickRows:
    """k >= 1 rows of a log as they stand there.

    Parameters
    ----------
    queries, images : k texts.
    clicks : (k,) int64 from 0 to 10**9.
    where : place among the k -> what an error calls that row.
    """

    queries: list[str]
    images: list[str]
    clicks: Rows
    where: Callable[[int], str]


def click_rows(path: Path, progress: Progress | None = None) -> Iterator[ClickRows]:
    """Yield the rows of a log in order; the ending of its name says what it is.

    Parameters
    ----------
    progress : called with bytes (of Parquet: rows) done and in all.

    Raises
    ------
    NotFoundError
        There is no such file, or it cannot be read.
    DataError
        It is not what its name says, a column is missing, a line has too few or too many fields, a query or an
        image is no text, clicks are no whole number from 0 to 10**9; the message names the line.
    MissingExtraError
        Parquet without pyarrow.
    UsageError
        Another ending.
    """
    name = path.name.lower()
    if not name.endswith(ENDINGS):
        raise UsageError(f"{path}: expected a click log whose name ends in {', '.join(ENDINGS)}")
    _check_readable(path)
    if name.endswith(".parquet"):
        return _parquet_rows(path, progress)
    return (_json_rows if ".jsonl" in name[-9:] else _tsv_rows)(path, progress)


def _check_readable(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for its writer
            raise DataError(f"{path}: not a regular file")
        path.open("rb").close()
    except FileNotFoundError:
        raise NotFoundError(f"file not found: {path}") from None
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from None


def _tsv_rows(path: Path, progress: Progress | None) -> Iterator[ClickRows]:
    """Fields are taken as they stand between tabs: nothing is quoted."""
    header: list[str] | None = None
    for numbers, lines in _line_blocks(path, progress):
        where = _named(path, "line", numbers)
        if header is None:
            header = _tsv_header(lines[0], where(0))
            numbers, lines = numbers[1:], lines[1:]
            where = _named(path, "line", numbers)
        counts = [line.count("\t") + 1 for line in lines]
        if counts.count(len(header)) < len(counts):
            wrong = next(place for place, count in enumerate(counts) if count != len(header))
            expected = f"{len(header)} fields as in the header"
            raise DataError(f"{where(wrong)}: expected {expected}, got {counts[wrong]}")
        if lines:
            fields = "\t".join(lines).split("\t")
            query, image, clicks = (fields[header.index(name) :: len(header)] for name in COLUMNS)
            yield ClickRows(query, image, _numbers(clicks, where), where)
    if header is None:
        raise DataError(f"{path}: empty, expected a header line with {', '.join(COLUMNS)}")


def _tsv_header(line: str, where: str) -> list[str]:
    header = line.split("\t")
    if any(header.count(name) != 1 for name in COLUMNS):
        expected = "a header line with query, image and clicks once each, parted by tabs"
        raise DataError(f"{where}: expected {expected}, got {line[:80]!r}")
    return header


def _numbers(texts: list[str], where: Callable[[int], str]) -> Rows:
    joined = "".join(texts)
    if not (joined.isascii() and joined.isdecimal() and all(texts) and max(map(len, texts)) <= 18):
        for place, text in enumerate(texts):
            if not _WHOLE.fullmatch(text.strip()):
                raise _not_clicks(text, where(place))
    return _checked_clicks(list(map(int, texts)), where)


def _checked_clicks(values: list[int], where: Callable[[int], str]) -> Rows:
    if min(values) < 0 or max(values) > MAX_CLICKS:
        place = next(place for place, value in enumerate(values) if not 0 <= value <= MAX_CLICKS)
        raise _not_clicks(values[place], where(place))
    return np.array(values, np.int64)


def _not_clicks(value: object, where: str) -> DataError:
    got = "nothing" if value is None else repr(value)[:40]
    return DataError(f"{where}: clicks: expected a whole number from 0 to {MAX_CLICKS:,}, got {got}")


def _json_rows(path: Path, progress: Progress | None) -> Iterator[ClickRows]:
    """One object a line; an image may be a text or an integer."""
    for numbers, lines in _line_blocks(path, progress):
        where = _named(path, "line", numbers)
        try:
            records = list(map(json.loads, lines))
        except (ValueError, RecursionError):
            records = [parse_json(line, where(place)) for place, line in enumerate(lines)]
        for place, record in enumerate(records):
            if type(record) is not dict:
                raise DataError(f"{where(place)}: expected a JSON object, got {type(record).__name__}")
        query, image, clicks = ([record.get(name) for record in records] for name in COLUMNS)
        _check_types("query", query, (str,), where)
        _check_types("image", image, (str, int), where)
        for place, value in enumerate(clicks):
            if type(value) is not int:
                raise _not_clicks(value, where(place))
        yield ClickRows(query, list(map(str, image)), _checked_clicks(clicks, where), where)


def _check_types(name: str, values: list[Any], types: tuple[type, ...], where: Callable[[int], str]) -> None:
    """bool is no int here."""
    for place, value in enumerate(values):
        if type(value) not in types:
            got = "nothing" if value is None else type(value).__name__
            expected = "text" if len(types) == 1 else "text or an integer"
            raise DataError(f"{where(place)}: {name}: expected {expected}, got {got}")


def _named(path: Path, what: str, numbers: Sequence[int]) -> Callable[[int], str]:
    return lambda place: f"{path} {what} {numbers[place]}"


def _line_blocks(path: Path, progress: Progress | None) -> Iterator[tuple[Sequence[int], list[str]]]:
    r"""Numbers from 1 and texts of lines that are not empty; lines end in ``\n`` or ``\r\n``."""
    done = 0
    for block in _blocks(path, progress):
        try:
            text = block.decode()
        except UnicodeDecodeError as error:
            line = done + block.count(b"\n", 0, error.start) + 1
            raise DataError(f"{path} line {line}: not UTF-8 text") from None
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        numbers: Sequence[int] = range(done + 1, done + 1 + len(lines))
        done += len(lines)
        if not all(lines):
            numbers, lines = list(compress(numbers, lines)), list(filter(None, lines))
        if lines:
            yield numbers, lines


def _blocks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    """Whole lines, about BLOCK_BYTES of them at once; a byte order mark is dropped."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            stream = gzip.GzipFile(fileobj=file) if path.name.lower().endswith(".gz") else file
            rest, done = b"", 0
            while block := stream.read(BLOCK_BYTES):
                if not done and not rest:
                    block = block.removeprefix(codecs.BOM_UTF8)
                block = rest + block
                end = block.rfind(b"\n") + 1
                whole, rest = block[:end], block[end:]
                done += whole.count(b"\n")
                if len(rest) > BLOCK_BYTES:
                    raise DataError(f"{path} line {done + 1}: longer than {BLOCK_BYTES:,} bytes")
                if whole:
                    yield whole
                if progress is not None:
                    progress(file.tell(), size)
            if rest:
                yield rest
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from None


def _parquet_rows(path: Path, progress: Progress | None) -> Iterator[ClickRows]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f'{path}: Parquet needs pyarrow: pip install "spdq[parquet]"') from None
    done = 0
    try:
        with parquet.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow, pyarrow.types)
            total = file.metadata.num_rows
            for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=list(COLUMNS)):
                if batch.num_rows:
                    yield _batch_rows(batch, pyarrow, _named(path, "row", range(done + 1, total + 1)))
                done += batch.num_rows
                if progress is not None:
                    progress(done, total)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).partition(chr(10))[0]})") from None


def _check_schema(path: Path, schema: Any, types: Any) -> None:
    for name in COLUMNS:
        if schema.names.count(name) != 1:
            raise DataError(f"{path}: expected a column {name}, there are {', '.join(schema.names)[:80]}")
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        is_text, is_whole = types.is_string(kind) or types.is_large_string(kind), types.is_integer(kind)
        if not {"query": is_text, "image": is_text or is_whole, "clicks": is_whole}[name]:
            expected = {"query": "text", "image": "text or integers", "clicks": "integers"}[name]
            raise DataError(f"{path}: column {name}: expected {expected}, got {kind}")


def _batch_rows(batch: Any, pyarrow: Any, where: Callable[[int], str]) -> ClickRows:
    columns = []
    for name in COLUMNS:
        column = batch.column(name)
        if column.null_count:
            raise DataError(
                f"{where(column.is_null().index(True).as_py())}: {name}: expected a value, got null"
            )
        columns.append(column.cast(pyarrow.string()) if name != "clicks" else column)
    query, image, clicks = (column.to_pylist() for column in columns)
    return ClickRows(query, image, _checked_clicks(clicks, where), where)
