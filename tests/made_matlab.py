"""MATLAB files of both versions, and small made copies of the releases in MATLAB files.

A value is an array (numbers), str (char), a tuple of str (char matrix), a list (column of cells), a dict (1 x 1
struct) or a SciPy sparse matrix.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image
from scipy import sparse

CLASSES = {"float64": "double", "float32": "single", "bool": "logical"}


def write_v5(path: Path, **variables) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {name: _v5(value) for name, value in variables.items()}, do_compression=True)
    return path


def _v5(value):
    if isinstance(value, list):
        cells = np.empty((len(value), 1), object)
        for row, cell in enumerate(value):
            cells[row, 0] = _v5(cell)
        return cells
    if isinstance(value, dict):
        return {name: _v5(field) for name, field in value.items()}
    return np.array(value) if isinstance(value, tuple) else value


def write_v73(path: Path, **variables) -> Path:
    """As MATLAB writes: a header before the HDF5, axes reversed, classes as attributes, cells in #refs#."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _v73(file, name, value)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + bytes([0, 2]) + b"IM"
    with path.open("r+b") as raw:
        raw.write(header)
    return path


def _v73(group: h5py.Group, name: str, value) -> h5py.HLObject:
    if isinstance(value, dict):
        node = group.create_group(name)
        _class(node, "struct")
        for field, inner in value.items():
            _v73(node, field, inner)
    elif sparse.issparse(value):
        node = group.create_group(name)
        matrix = value.tocsc()
        _class(node, CLASSES[str(matrix.dtype)])
        node.attrs["MATLAB_sparse"] = np.uint64(matrix.shape[0])
        node["jc"] = matrix.indptr.astype(np.uint64)
        if matrix.nnz:
            node["data"] = matrix.data.astype(np.uint8 if matrix.dtype == bool else matrix.dtype)
            node["ir"] = matrix.indices.astype(np.uint64)
    elif isinstance(value, str | tuple):
        rows = [value] if isinstance(value, str) else value
        width = max(map(len, rows))
        units = np.array([[ord(letter) for letter in row.ljust(width)] for row in rows], np.uint16)
        node = _array(group, name, units, "char")
        node.attrs["MATLAB_int_decode"] = np.int32(2)
    elif isinstance(value, list):
        refs = group.file.require_group("#refs#")
        cells = [_v73(refs, uuid.uuid4().hex, cell) for cell in value]
        node = group.create_dataset(name, (1, len(value)), h5py.ref_dtype)
        node[0] = [cell.ref for cell in cells]
        _class(node, "cell")
    else:
        node = _array(group, name, value, CLASSES.get(str(value.dtype), str(value.dtype)))
    return node


def _array(group: h5py.Group, name: str, array: np.ndarray, matlab_class: str) -> h5py.Dataset:
    if array.size == 0:
        node = group.create_dataset(name, data=np.array(array.shape, np.uint64))
        node.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        stored = array.astype(np.uint8) if array.dtype == bool else array
        node = group.create_dataset(name, data=stored.T, chunks=True, compression="gzip", compression_opts=3)
    _class(node, matlab_class)
    return node


def _class(node: h5py.HLObject, matlab_class: str) -> None:
    node.attrs["MATLAB_class"] = np.bytes_(matlab_class)


class PixelExtractor:
    """The pixels of files or PIL images, squashed to 4 x 3: 36 features."""

    name = "pixels"
    regions = 1

    def extract(self, images, progress=None):
        features = np.empty((len(images), 36), np.float32)
        for row, source in enumerate(images):
            image = source if isinstance(source, Image.Image) else Image.open(source)
            features[row] = np.asarray(image.convert("RGB").resize((4, 3), Image.Resampling.BOX)).ravel()
            if progress is not None:
                progress(row + 1, len(images))
        return features


def items(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """n items with rows as items: pixels (n, 6, 8, 3) uint8, features (n, 7), tags (n, 12) and labels (n, 4)."""
    rng = np.random.default_rng(seed)
    return {
        "pixels": rng.integers(0, 256, (n, 6, 8, 3), dtype=np.uint8),
        "features": rng.standard_normal((n, 7)),
        "tags": (rng.random((n, 12)) < 0.1).astype(np.uint8),
        "labels": np.eye(4, dtype=np.uint8)[rng.integers(0, 4, n)],
    }


def matlab_pixels(pixels: np.ndarray) -> np.ndarray:
    """(n, height, width, 3) -> height x width x 3 x n, as DCMH published them."""
    return pixels.transpose(1, 2, 3, 0)


def all_files(
    folder: Path, prefix: str, made: dict[str, np.ndarray], pixels: bool = True, features: str = "iall-vgg"
):
    """The release of one file a part, each in a folder of its own; pixels and tags in version 7.3."""
    if pixels:
        write_v73(folder / "IAll" / f"{prefix}-iall.mat", IAll=matlab_pixels(made["pixels"]))
    if features:
        write_v5(folder / f"{prefix}-{features}.mat", XAll=made["features"])
    write_v73(folder / "YAll" / f"{prefix}-yall.mat", YAll=made["tags"])
    write_v5(folder / "LAll" / f"{prefix}-lall.mat", LAll=made["labels"].astype(float))
    return folder


def blocks(
    write,
    path: Path,
    made: dict[str, np.ndarray],
    image: str = "features",
    n_query: int = 5,
    n_train: int = 9,
):
    """The first rows are queries, the others the database, of which some (in another order) are trained on."""
    n = len(made["labels"])
    rows = {"te": np.arange(n_query), "db": np.arange(n_query, n)}
    rows["tr"] = np.random.default_rng(1).permutation(rows["db"])[:n_train]
    parts = {"I": made[image], "T": made["tags"], "L": made["labels"]}
    return write(
        path,
        **{f"{letter}_{block}": part[kept] for letter, part in parts.items() for block, kept in rows.items()},
    )


def photos(folder: Path, pixels: np.ndarray) -> list[str]:
    """Pictures im1.png ... in a folder of the folder -> their names."""
    (folder / "mirflickr").mkdir(parents=True)
    names = [f"im{number}.png" for number in range(1, len(pixels) + 1)]
    for name, picture in zip(names, pixels, strict=True):
        Image.fromarray(picture).save(folder / "mirflickr" / name)
    return names


def pascal(write, folder: Path, n_train: int = 40, n_test: int = 25, **changes) -> Path:
    """The six files of Pascal Sentence; classes come in no order. ``changes`` replace a file's variable."""
    rng = np.random.default_rng(0)
    for part, n in (("train", n_train), ("test", n_test)):
        made = {
            f"{part}_img": rng.random((n, 9), np.float32),
            f"{part}_txt": rng.random((n, 6), np.float32),
            f"{part}_img_lab": rng.permutation(np.arange(n) % 20)[:, None],
        }
        for name, value in made.items():
            write(folder / f"{name}.mat", **{name: changes.get(name, value)})
    return folder
