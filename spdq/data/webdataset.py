"""Shards of a webdataset: tar files, in which the files of one key after another are a sample.

0001.jpg     the picture (.jpg, .jpeg, .png or .webp)
0001.txt     its text
0001.json    {"text": "a cat", "labels": ["animal", "cat"], "year": 2020}; a text in 0001.txt goes first
0001.cls     the number of its class, which becomes the label class-3
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.folder import FolderFindings, load_items
from spdq.data.metadata import Item, Metadata, add_record, attributes_of, item_of, label_list
from spdq.data.pictures import ENDINGS, relative_path, write_pictures
from spdq.data.records import parse_json, storable
from spdq.data.splits import SplitKind
from spdq.errors import DataError, NotFoundError, SpdqError, StorageError

MAX_PICTURE = 64 << 20
MAX_WORDS = 1 << 20
"""Bytes of a .txt, .json or .cls member, and of what tar itself writes before one (a long name)."""
_WORDS = (".txt", ".json", ".cls")
_BEFORE_ONE = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass
class _Sample:
    """What was read of one key."""

    key: str
    where: str
    picture: str | None = None
    words: dict[str, str] = field(default_factory=dict)
    too_large: str | None = None


def load_webdataset(
    source: Path,
    pictures: Path,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
    skip_bad: bool = False,
) -> tuple[Dataset, FolderFindings]:
    """Make a data set of the samples, in their order in the shards, and these in the order of their names.

    The picture's path in the tar becomes the id. Files with other endings are left alone, as are those whose name
    begins with a dot or has none. The name of the data set is the source's; queries are as in ``load_folder``.

    Parameters
    ----------
    source : a .tar file, not compressed, or a folder of such.
    pictures : made if needed; the pictures are copied there and it becomes the data set's ``root``.
    extractor : makes ``image_features`` (n, d) float32 from the copied pictures.
    skip_bad : leave out samples whose picture is missing, above 64 MiB or cannot be read, and say so; else the first
        is an error.

    Raises
    ------
    NotFoundError
        There is no such file or folder.
    DataError
        A shard is damaged or cut off; a member is a link or device, or its path leads out of the folder; a key comes
        twice or has two files of one kind; its text or JSON is not as it should be; or as in ``load_folder``.
    StorageError
        The pictures cannot be written.
    UsageError
        Unknown kind or negative seed.
    """
    shards = _shards(source)
    items: list[Item] = []
    columns: dict[str, list[Any]] = {}
    skipped: list[str] = []
    seen: dict[str, str] = {}
    for shard in shards:
        for sample in _samples(shard, pictures):
            if (other := seen.setdefault(sample.key, sample.where)) is not sample.where:
                raise DataError(f"{sample.where}: this key is already that of a sample in {other}")
            if sample.picture is None:
                why = sample.too_large or f"{sample.where}: no picture ({', '.join(ENDINGS)})"
                if not skip_bad:
                    raise DataError(why)
                skipped.append(why)
                continue
            record, labels = _record(sample)
            add_record(columns, record, len(items))
            items.append(item_of(record, labels, sample.where))
    metadata = Metadata(items, attributes_of(shards[0], columns, [item.where for item in items]))
    name = source.stem if source.is_file() else source.resolve().name
    made, found = load_items(
        pictures, name or "webdataset", metadata, extractor, progress, kind, seed, skip_bad, source
    )
    for left_out in {item.path for item in items}.difference(made.ids.tolist()):
        (pictures / left_out).unlink()
    return made, FolderFindings((*skipped, *found.skipped), found.repeated)


def _shards(source: Path) -> list[Path]:
    if not source.exists():
        raise NotFoundError(f"{source}: file or folder not found")
    shards = sorted(source.glob("*.tar")) if source.is_dir() else [source]
    if not shards:
        raise DataError(f"{source}: no .tar files in this folder")
    for shard in shards:
        if not shard.is_file():  # opening a FIFO would wait for its writer
            raise DataError(f"{shard}: not a regular file")
    return shards


def _samples(shard: Path, pictures: Path) -> Iterator[_Sample]:
    """Samples of a shard; their pictures are written on the way."""
    sample: _Sample | None = None
    for member, content in _members(shard):
        path, ending = _key(member)
        if sample is None or sample.key != path:
            if sample is not None:
                yield sample
            sample = _Sample(path, f"{shard} sample {path}")
        where = f"{shard} member {member}"
        if ending in ENDINGS:
            if sample.picture is not None or sample.too_large is not None:
                raise DataError(f"{where}: a second picture of sample {path}")
            if content is None:
                sample.too_large = f"{where}: above {MAX_PICTURE >> 20} MiB"
                continue
            inside = PurePosixPath(member)
            sample.picture = member
            write_pictures(pictures / inside.parent, [(inside.name, content)])
            continue
        if content is None:
            raise DataError(f"{where}: above {MAX_WORDS >> 20} MiB")
        if ending in sample.words:
            raise DataError(f"{where}: a second {ending} of sample {path}")
        try:
            sample.words[ending] = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{where}: not UTF-8 text") from None
    if sample is not None:
        yield sample


def _members(shard: Path) -> Iterator[tuple[str, bytes | None]]:
    """Path in shortest form and content of the files that belong to samples; None for one that is too large."""
    try:
        with tarfile.open(shard, "r|", tarinfo=_Member) as tar:
            there = shard.stat().st_size
            for member in tar:
                if member.offset_data + member.size > there:  # tarfile would look for the next one for ever
                    raise tarfile.ReadError(f"{member.name!r:.300} ends after the file")
                if member.isdir():
                    continue
                where = f"{shard} member {member.name!r:.300}"
                path = storable(relative_path(member.name, where), where)
                if not member.isreg() or member.issparse() or member.size < 0:
                    raise DataError(f"{where}: expected a regular file, got a link, device or sparse file")
                _, ending = _key(path)
                if ending not in (*ENDINGS, *_WORDS):
                    continue
                most = MAX_PICTURE if ending in ENDINGS else MAX_WORDS
                stream = None if member.size > most else tar.extractfile(member)
                yield path, None if stream is None else stream.read()
    except SpdqError:
        raise
    except (tarfile.TarError, ValueError) as error:
        raise DataError(f"{shard}: damaged, cut off or no tar file ({error})") from None
    except OSError as error:
        raise StorageError(f"cannot read {shard}: {error.strerror}") from None


class _Member(tarfile.TarInfo):
    """A header that is refused where tarfile would take the archive's end for granted, or read without limit."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            made = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # a block of zeros is the end
            raise tarfile.ReadError(str(error)) from None
        if made.type in _BEFORE_ONE and not 0 <= made.size <= MAX_WORDS:
            raise tarfile.ReadError(f"a name or header of {made.size:,} bytes")
        if made.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"a sparse file, {made.name!r:.300}")
        return made


def _key(path: str) -> tuple[str, str]:
    """Key and ending, which begins at the first dot of the file's name; no ending where that begins or lacks it."""
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.partition(".")
    return (folder + slash + stem, (dot + ending).lower()) if stem else (path, "")


def _record(sample: _Sample) -> tuple[dict[str, Any], list[str]]:
    """The sample as a line of metadata, and its labels."""
    record: dict[str, Any] = {}
    if ".json" in sample.words:
        where = f"{sample.where} .json"
        record = parse_json(sample.words[".json"], where)
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(record).__name__}")
    labels = list(label_list(record, sample.where))
    if ".cls" in sample.words:
        number = sample.words[".cls"].strip()
        if not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise DataError(f"{sample.where} .cls: expected the number of a class, got {number!r:.60}")
        labels.append(f"class-{int(number)}")
    if ".txt" in sample.words:
        record["text"] = sample.words[".txt"]
    return record | {"file_name": sample.picture}, labels
