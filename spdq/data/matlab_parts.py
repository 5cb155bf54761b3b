"""Parts of a release in MATLAB files: which axis runs over the items, and what each part becomes.

Some releases are published with items as rows, some as columns. The number of items is the one size that all
parts of a release have in common; a part whose other size is the same could be either, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.matlab import MatlabFile, Shape, shape_text
from spdq.errors import DataError, UsageError

PIXEL_AXES = ("HWCN", "NCWH")
"""Pixels as MATLAB shows them. The first is what DCMH published; the second comes of writing (N, 3, W, H)."""
PIXEL_BLOCK = 256
"""So many pictures of 224 x 224 are held at once."""
SPARSE_BELOW = 0.25
"""Text features with a smaller share of values other than 0 are stored as CSR."""
NAME_ONE = "name the extractor that makes features of them, such as --extractor lite0:224"


@dataclass(frozen=True)
class Variable:
    """One variable of one open file."""

    file: MatlabFile
    name: str

    @property
    def where(self) -> str:
        return f"{self.file.path}: {self.name}"

    @property
    def shape(self) -> Shape:
        return self.file.shape(self.name)

    @property
    def holds_pixels(self) -> bool:
        return len(self.shape) == 4


def count_items(variables: Sequence[Variable], lengths: Mapping[str, int] | None = None) -> int:
    """The number of items that all parts agree on.

    Parameters
    ----------
    variables : matrices (n, d) or (d, n), and pixels in one of ``PIXEL_AXES``.
    lengths : what a list is called -> how many items it has.

    Raises
    ------
    DataError
        A part is neither a matrix nor pixels, they have no size in common, or more than one.
    """
    lengths = lengths or {}
    sizes = [_possible_counts(variable) for variable in variables] + [{length} for length in lengths.values()]
    common = set.intersection(*sizes)
    if len(common) == 1 and not (square := [v for v in variables if _is_square(v.shape)]):
        return common.pop()
    shown = [f"{variable.name} {shape_text(variable.shape)}" for variable in variables]
    shown += [f"{length} {name}" for name, length in lengths.items()]
    found = f"{variables[0].file.path}: {', '.join(shown)}"
    if not common:
        raise DataError(f"{found}: these parts have no number of items in common")
    if len(common) > 1:
        raise DataError(f"{found}: cannot tell items from features, more than one size is common to all")
    raise DataError(f"{found}: cannot tell items from features, {square[0].name} is square")


def _is_square(shape: Shape) -> bool:
    return len(shape) == 2 and shape[0] == shape[1]


def _possible_counts(variable: Variable) -> set[int]:
    shape = variable.shape
    if len(shape) == 2:
        return set(shape)
    counts = {
        shape[axes.index("N")] for axes in PIXEL_AXES if len(shape) == 4 and shape[axes.index("C")] == 3
    }
    if not counts:
        raise DataError(
            f"{variable.where}: expected a matrix, or pixels of height x width x 3 x items "
            f"or items x 3 x width x height, got {shape_text(shape)}"
        )
    return counts


def item_rows(variable: Variable, n: int, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """A matrix with the n items as rows: (n, d), C order, of ``dtype`` or the stored type."""
    matrix = variable.file.matrix(variable.name, dtype)
    return np.ascontiguousarray(matrix if len(matrix) == n else matrix.T)


def label_rows(variable: Variable, n: int) -> npt.NDArray[np.uint8]:
    """Labels -> (n, c) uint8 of 0 and 1.

    Raises
    ------
    DataError
        Another value.
    """
    labels = item_rows(variable, n)
    good = (labels == 0) | (labels == 1)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise DataError(f"{variable.where}: expected 0 or 1 for each label, got {labels[row, column]:g}")
    return labels.astype(np.uint8)


def text_rows(dense: npt.NDArray[np.float32]) -> Any:
    """(n, d) text features, as they are or as CSR: whichever is smaller."""
    if np.count_nonzero(dense) >= SPARSE_BELOW * dense.size:
        return dense
    from scipy.sparse import csr_matrix

    return csr_matrix(dense)


def image_rows(
    variable: Variable, n: int, extractor: ImageExtractor | None, progress: Progress | None = None
) -> npt.NDArray[np.float32]:
    """Image features (n, d) float32: a matrix as it is, pixels through the extractor, a block at a time.

    Raises
    ------
    DataError
        Pixels whose axes cannot be told apart, or that are not whole numbers from 0 to 255.
    UsageError
        Pixels without an extractor, or features with one.
    """
    if not variable.holds_pixels:
        if extractor is not None:
            raise UsageError(f"{variable.where} holds features, which need no extractor: leave it out")
        return item_rows(variable, n, np.float32)
    if extractor is None:
        raise UsageError(f"{variable.where} holds pixels: {NAME_ONE}")
    from PIL import Image

    axes = _pixel_axes(variable, n)
    order = [axes.index(axis) for axis in "NHWC"]
    features: list[npt.NDArray[np.float32]] = []
    done = 0
    for block in variable.file.blocks(variable.name, axes.index("N"), PIXEL_BLOCK):
        pixels = _as_bytes(variable, np.ascontiguousarray(block.transpose(order)))
        images = [Image.fromarray(picture) for picture in pixels]
        features.append(extractor.extract(images, part_of(progress, done, n)))
        done += len(images)
    return np.concatenate(features)


def _pixel_axes(variable: Variable, n: int) -> str:
    shape = variable.shape
    fitting = [axes for axes in PIXEL_AXES if shape[axes.index("N")] == n and shape[axes.index("C")] == 3]
    if len(fitting) > 1:
        raise DataError(f"{variable.where}: cannot tell the axes of {shape_text(shape)} apart")
    return fitting[0]


def _as_bytes(variable: Variable, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    with np.errstate(invalid="ignore"):
        whole = pixels.astype(np.uint8)
    if not np.array_equal(whole, pixels):
        raise DataError(f"{variable.where}: expected pixels that are whole numbers from 0 to 255")
    return whole


def part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one part as progress of the whole."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def find_pictures(folder: Path, names: Sequence[str]) -> list[str | None]:
    """Where listed pictures lie below a folder: paths from there, None for those that are missing.

    Lists hold paths of the machine they were made on. A name is looked for as it stands, then without its first
    part, its first two and so on, and at last by its last part alone, anywhere below the folder.

    Raises
    ------
    DataError
        Several files have that last part.
    """
    below: dict[str, list[str]] | None = None
    found: list[str | None] = []
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/").lstrip("/")).parts
        ends = (PurePosixPath(*parts[start:]) for start in range(len(parts)))
        end = next((end for end in ends if ".." not in end.parts and (folder / end).is_file()), None)
        if end is not None:
            found.append(str(end))
            continue
        if below is None:
            below = _files_below(folder)
        places = below.get(parts[-1], []) if parts else []
        if len(places) > 1:
            raise DataError(f"{folder}: {name} may be {places[0]} or {places[1]}; leave one of them there")
        found.append(places[0] if places else None)
    return found


def short_names(names: Sequence[str]) -> list[str]:
    """The last parts of listed paths, or the whole paths where these are not unique."""
    short = [PurePosixPath(name.replace("\\", "/")).name for name in names]
    return short if len(set(short)) == len(short) and all(short) else list(names)


def _files_below(folder: Path) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in files:
            places.setdefault(name, []).append((Path(parent) / name).relative_to(folder).as_posix())
    return places
