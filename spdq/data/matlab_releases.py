"""Releases of cross-modal hashing research in MATLAB files, told by the names of files and variables.

In several files, row i item i in each (a folder, or folders in it such as ``IAll`` and ``LAll``):

- ``mirflickr25k-``, ``nus-wide-tc10-``, ``nus-wide-tc21-`` with ``iall.mat`` (IAll, pixels), ``iall-vgg.mat`` or
  ``xall-vgg.mat`` (XAll, features), ``yall.mat`` (YAll, tags), ``lall.mat`` (LAll, labels), ``fall.mat`` (FAll,
  picture names, optional); the first also with ``-rand`` before ``.mat`` (the same items in another order);
- ``imgList.mat`` (FAll or imgs), ``tagList.mat`` (YAll or tags), ``labelList.mat`` (LAll or labels), or all three
  with ``21`` before ``.mat``;
- ``index.mat`` (index, picture paths), ``caption.mat`` (caption) or ``caption.txt``, ``label.mat`` (category or
  label).

In one file, told by its variables: IAll or images or XAll with YAll and LAll (DCMH's ``FLICKR-25K.mat``); I_db,
I_te, I_tr and T_ and L_ of the same (``mir_cnn.mat``, ``raw_mir.mat`` ...); VDatabase, YDatabase, databaseL, VTest,
YTest and testL (``iapr-tc12-rand.mat``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.matlab import open_matlab
from spdq.data.matlab_items import Block, Labels, QueryRule, Request, load_blocks, load_modalities
from spdq.data.queries import class_query_rows, default_query_rows
from spdq.data.splits import Rows, SplitKind, random_query_rows
from spdq.errors import DataError, NotFoundError, SpdqError, UsageError

TC21_QUERIES = 100
"""Queries a class."""
TC10_SHARE = 100
"""One query of so many items."""

_VARIABLES = {
    "pixels": ("IAll", "images"),
    "features": ("XAll",),
    "names": ("FAll", "imgs", "index"),
    "text": ("YAll", "tags"),
    "captions": ("caption",),
    "labels": ("LAll", "labels", "category", "label"),
}
_BLOCKS = {
    "blocks tr, te, db": {
        "database": Block("db", "I_db", "T_db", "L_db"),
        "query": Block("te", "I_te", "T_te", "L_te"),
        "train": Block("tr", "I_tr", "T_tr", "L_tr"),
    },
    "blocks Database, Test": {
        "database": Block("database", "VDatabase", "YDatabase", "databaseL"),
        "query": Block("test", "VTest", "YTest", "testL"),
    },
}


@dataclass(frozen=True)
class _Layout:
    """A release in several files: role -> the names its file may have; of each group one must be there."""

    name: str | None
    files: Mapping[str, tuple[str, ...]]
    needed: tuple[tuple[str, ...], ...]
    queries: QueryRule


def _default_queries(labels: Labels, seed: int, where: Path) -> Rows:
    return default_query_rows(len(labels), seed, where)


def _tc21_queries(labels: Labels, seed: int, where: Path) -> Rows:
    return class_query_rows(labels, TC21_QUERIES, seed)


def _tc10_queries(labels: Labels, seed: int, where: Path) -> Rows:
    return random_query_rows(len(labels), max(1, round(len(labels) / TC10_SHARE)), seed)


def _all_files(prefix: str, suffix: str, queries: QueryRule) -> _Layout:
    def named(*parts: str) -> tuple[str, ...]:
        return tuple(f"{prefix}-{part}{suffix}.mat" for part in parts)

    files = {"pixels": named("iall"), "features": named("iall-vgg", "xall-vgg"), "names": named("fall")}
    files |= {"text": named("yall"), "labels": named("lall")}
    return _Layout(prefix + suffix, files, _TRIPLET, queries)


def _lists(suffix: str, queries: QueryRule) -> _Layout:
    files = {role: (f"{part}List{suffix}.mat",) for role, part in _LIST_PARTS.items()}
    return _Layout(None, files, (("names",), ("text",), ("labels",)), queries)


_LIST_PARTS = {"names": "img", "text": "tag", "labels": "label"}
_TRIPLET = (("pixels", "features"), ("text",), ("labels",))
_LAYOUTS = (
    _all_files("mirflickr25k", "", _default_queries),
    _all_files("mirflickr25k", "-rand", _default_queries),
    _all_files("nus-wide-tc10", "", _tc10_queries),
    _all_files("nus-wide-tc21", "", _tc21_queries),
    _lists("", _default_queries),
    _lists("21", _tc21_queries),
    _Layout(
        None,
        {
            "names": ("index.mat",),
            "captions": ("caption.mat", "caption.txt"),
            "labels": ("label.mat",),
        },
        (("names",), ("captions",), ("labels",)),
        _default_queries,
    ),
)
_KNOWN = (
    "FLICKR-25K.mat, mirflickr25k-*all.mat, nus-wide-tc10-*all.mat, nus-wide-tc21-*all.mat, "
    "imgList.mat with tagList.mat and labelList.mat, index.mat with caption.mat and label.mat, "
    "mir_cnn.mat and its like, iapr-tc12-rand.mat"
)


@dataclass(frozen=True)
class Release:
    """A release that was found: the data set's name, where pictures are looked for, and role -> file."""

    name: str
    folder: Path
    files: Mapping[str, Path]
    queries: QueryRule
    blocks: str | None = None

    def describe(self) -> dict[str, str]:
        """What was found, for people."""
        files = dict.fromkeys(path.relative_to(self.folder).as_posix() for path in self.files.values())
        return {
            "release": self.name,
            "files": ", ".join(files),
            "parts": self.blocks or ", ".join(self.files),
        }

    def load(self, request: Request) -> Dataset:
        if self.blocks is not None:
            return load_blocks(self.name, self.files["all"], _BLOCKS[self.blocks], request)
        return load_modalities(self.name, self.folder, self.files, _VARIABLES, self.queries, request)


def load_matlab(
    source: Path,
    extractor: ImageExtractor | None = None,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
) -> Dataset:
    """Make a data set of a release in MATLAB files (version 5 or 7.3), whichever ``source`` holds.

    Features are taken as they are, tag matrices become CSR where they are sparse. Items are rows or columns, as
    the sizes of the parts tell. Labels are ``label-1`` ..., for the releases do not name them.

    Queries, where the release is not split: of TC21 and ``imgList21`` 100 random items a class, of TC10 1 % of
    the items (1,866 of 186,577), else 2,000 random items; fewer of small sets. A release in blocks keeps its
    queries, and its training and database rows as ``load_blocks`` says.

    Parameters
    ----------
    source : the folder, a file that holds all, or one file of those that belong together.
    extractor : for pixels and listed pictures (which must lie below the folder); they make ``image_features``.
        None for a release with features.

    Raises
    ------
    NotFoundError
        No such source, or a file of the release is missing (it is named), or a listed picture.
    DataError
        No known release; parts that do not align; anything else than numbers where numbers belong.
    DamagedError
        A file is truncated or damaged.
    UsageError
        Several releases in one folder; pixels without an extractor, or an extractor without pixels.
    """
    return find_release(source).load(Request(extractor, progress, kind, seed))


def find_release(source: Path) -> Release:
    """Recognise the release in a folder, or the one a file belongs to.

    Raises
    ------
    NotFoundError, DataError, UsageError
        As ``load_matlab``.
    """
    if not source.exists():
        raise NotFoundError(f"file or folder not found: {source}")
    folder = source if source.is_dir() else source.parent
    there = _files(folder)
    of_layouts = {name for layout in _LAYOUTS for names in layout.files.values() for name in names}
    if source.is_dir():
        found = [_in_layout(layout, folder, there) for layout in _LAYOUTS]
        found += [_in_one_file(path, folder) for name, path in there.items() if name not in of_layouts]
    elif source.name in of_layouts:
        mine = [layout for layout in _LAYOUTS if any(source.name in names for names in layout.files.values())]
        found = [_in_layout(layout, folder, there) for layout in mine]
    else:
        found = [_in_one_file(source, folder)]
    complete = [release for release in found if isinstance(release, Release)]
    if len(complete) > 1:
        names = ", ".join(f"{next(iter(one.files.values())).name} ({one.name})" for one in complete)
        raise UsageError(
            f"{source} holds several releases: name a file of one instead of the folder: {names}"
        )
    if complete:
        return complete[0]
    for error in found:
        if isinstance(error, SpdqError):
            raise error
    raise DataError(f"{source}: not a known release in MATLAB files; known are {_KNOWN}")


def _files(folder: Path) -> dict[str, Path]:
    """Name -> where it lies: in the folder, else in a folder in it."""
    paths = [*sorted(folder.glob("*/*")), *sorted(folder.glob("*"))]
    return {path.name: path for path in paths if path.suffix in (".mat", ".txt") and path.is_file()}


def _in_layout(layout: _Layout, folder: Path, there: Mapping[str, Path]) -> Release | SpdqError | None:
    roles = {
        role: there[next(name for name in names if name in there)]
        for role, names in layout.files.items()
        if any(name in there for name in names)
    }
    if not roles:
        return None
    for group in layout.needed:
        if not any(role in roles for role in group):
            missing = " or ".join(name for role in group for name in layout.files[role])
            return NotFoundError(
                f"file not found: {missing} in {folder}, beside {next(iter(roles.values())).name}"
            )
    name = layout.name or folder.resolve().name or "matlab"
    return Release(name, folder, roles, layout.queries)


def _in_one_file(path: Path, folder: Path) -> Release | SpdqError | None:
    """What a file holds by its variables; an error where most of a release is there, but not all."""
    if path.suffix != ".mat":
        return None
    try:
        with open_matlab(path) as matlab:
            names = set(matlab.names)
    except SpdqError as error:
        return error
    for title, blocks in _BLOCKS.items():
        wanted = [name for block in blocks.values() for name in block[1:]]
        missing = [name for name in wanted if name not in names]
        if not missing:
            return Release(path.stem, folder, {"all": path}, _default_queries, title)
        if len(missing) < len(wanted) / 2:
            return DataError(
                f"{path}: variables not found: {', '.join(missing)} (expected {', '.join(wanted)})"
            )
    parts = [role for group in _TRIPLET for role in group if names & set(_VARIABLES[role])]
    absent = [group for group in _TRIPLET if not set(group) & set(parts)]
    if not absent:
        return Release(path.stem, folder, dict.fromkeys(parts, path), _queries_by_name(path.stem))
    if len(absent) == 1:
        expected = " or ".join(name for role in absent[0] for name in _VARIABLES[role])
        return DataError(f"{path}: variable not found: {expected}")
    return None


def _queries_by_name(name: str) -> QueryRule:
    if "tc10" in name.lower():
        return _tc10_queries
    return _tc21_queries if "tc21" in name.lower() else _default_queries
