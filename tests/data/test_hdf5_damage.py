"""Data set files that were changed after they were written: found, and never a wrong array."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from made_sets import assert_same, full_dataset

from spdq.data import Dataset
from spdq.errors import DamagedError, DataError, IncompatibleError


def test_a_changed_value_is_damage_and_names_its_place(tmp_path):
    full_dataset().save(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["image/features"][3, 4] += 1
    with pytest.raises(DamagedError, match=r"x\.h5:/image/features: checksum mismatch"):
        Dataset.load(tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.__delitem__("sha256"), "checksum of names"),
        (lambda file: file["ids"].attrs.__delitem__("sha256"), "/ids: checksum mismatch"),
        (lambda file: file.attrs.modify("name", np.bytes_(b"fool")), "checksum of names"),
        (lambda file: file["split"].attrs.modify("seed", 1), "checksum of names"),
        (lambda file: file.__delitem__("labels"), "checksum of names"),
        (lambda file: file["image"].attrs.modify("regions", 8), "checksum of names"),
        (lambda file: file["image"].attrs.__delitem__("regions"), "checksum of names"),
        (lambda file: file.__delitem__("grades"), "checksum of names"),
        (lambda file: file["clicks/count"].__setitem__(3, 9), "/clicks/count: checksum mismatch"),
        (lambda file: file.move("split/train", "split/q") or file.move("split/database", "split/train")
         or file.move("split/q", "split/database"), "checksum of names"),
    ],
)  # fmt: skip
def test_changed_names_and_attributes_are_damage(tmp_path, change, message):
    full_dataset().save(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        change(file)
    with pytest.raises(DamagedError, match=message):
        Dataset.load(tmp_path / "x.h5")


def load_damaged(original: Dataset, path: Path) -> str:
    """Load: either refused on purpose, or nothing that matters was damaged."""
    try:
        assert_same(original, Dataset.load(path))
    except (DamagedError, DataError, IncompatibleError) as error:
        return type(error).__name__
    return "unharmed"


def test_truncation_is_found_everywhere(tmp_path):
    full_dataset().save(tmp_path / "x.h5")
    whole = (tmp_path / "x.h5").read_bytes()
    for length in [0, 1, 7, 8, 9, 48, *np.linspace(50, len(whole) - 1, 20, dtype=int)]:
        (tmp_path / "x.h5").write_bytes(whole[:length])
        error, message = (DataError, "not an HDF5 file") if length < 8 else (DamagedError, "is truncated")
        with pytest.raises(error, match=message):
            Dataset.load(tmp_path / "x.h5")


def test_bit_flips_never_change_an_array_silently(tmp_path):
    full_dataset().save(tmp_path / "x.h5")
    whole = (tmp_path / "x.h5").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = []
    for position in rng.integers(0, len(whole), 40):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "y.h5").write_bytes(flipped)
        outcomes.append(load_damaged(full_dataset(), tmp_path / "y.h5"))
    assert outcomes.count("DamagedError") > 12
