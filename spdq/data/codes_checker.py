"""Check one untrusted codes file as ``checker`` does a data set: ``python codes_checker.py FILE MAX_BYTES``.

A codes file is flat: two data sets and some attributes, by the rules of ``checker`` for types, storage,
filters, sizes and checksums. It answers one JSON line: ``{}`` or ``{"error": class name, "message": text}``.

Imports nothing of spdq by name: it starts by its path, without the caller's ``sys.path``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py

FORMAT = "spdq-codes"
VERSION = 1
DATA_SETS = ("ids", "codes")
ATTRIBUTES = ("format", "version", "bits", "model_fingerprint", "codebook_fingerprint", "modality")


def check(checker: Any, path: str, max_bytes: int) -> None:
    """Raise ``checker.Refused`` unless the file may be read."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if "signature not found" in str(error):
            raise checker.Refused("DataError", f"not an HDF5 file: {path}") from None
        raise checker.Refused("DamagedError", f"{path} is truncated or damaged: {error}") from None
    with file:
        _check_version(checker, file, path)
        _check_names(checker, file, path)
        data_sets = {f"/{name}": file[name] for name in file}
        declared = sum(
            checker._check_data_set(data_set, f"{path}:{at}") for at, data_set in data_sets.items()
        )
        if declared > max_bytes:
            raise checker.Refused(
                "DataError", f"{path} declares {declared} bytes, the limit is {max_bytes}: raise max_bytes"
            )
        attributes = {f"/@{name}": checker.read_attribute(file, name, path) for name in ATTRIBUTES}
        checker._check_contents(file, path, data_sets, attributes)


def _check_version(checker: Any, file: Any, path: str) -> None:
    if checker.read_attribute(file, "format", path) != FORMAT:
        raise checker.Refused(
            "NotCodesError", f'{path} is not a codes file: its attribute format is not "{FORMAT}"'
        )
    version = checker.read_attribute(file, "version", path)
    if not isinstance(version, int) or version < 1:
        raise checker.Refused("DataError", f"{path}: attribute version must be {VERSION}, got {version!r}")
    if version > VERSION:
        newer = (
            f"codes format {version} is from a newer version, this one reads up to {VERSION}: upgrade spdq"
        )
        raise checker.Refused("IncompatibleError", f"{path}: {newer}")


def _check_names(checker: Any, file: Any, path: str) -> None:
    """Hard links to the two data sets, and nothing else."""
    if len(file) > len(DATA_SETS):
        raise checker.Refused(
            "DataError", f"{path}:/ holds {len(file)} objects, the codes format has {len(DATA_SETS)}"
        )
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "external" if isinstance(link, h5py.ExternalLink) else "soft"
            raise checker.Refused("DataError", f"{kind} links are not allowed ({path}:/{name})")
        if name not in DATA_SETS:
            raise checker.Refused(
                "DataError", f"{path}:/{name} is not part of the codes format, version {VERSION}"
            )
        if file.get(name, getclass=True) is not h5py.Dataset:
            raise checker.Refused("DataError", f"{path}:/{name} must be a data set")


def _load_checker() -> Any:
    """The module ``checker`` beside this file."""
    spec = importlib.util.spec_from_file_location("checker", Path(__file__).with_name("checker.py"))
    if spec is None or spec.loader is None:
        raise ImportError("checker.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    checker = _load_checker()
    path, max_bytes = sys.argv[1], int(sys.argv[2])
    answer = {}
    try:
        checker._limit(path)
        check(checker, path, max_bytes)
    except checker.Refused as refused:
        answer = {"error": refused.error, "message": str(refused)}
    except MemoryError:
        limit = checker.MAX_MEMORY >> 30
        answer = {"error": "DataError", "message": f"{path} needs more than {limit} GiB to check"}
    except Exception as error:  # h5py raises many kinds where the structure of a file is broken
        answer = {"error": "DamagedError", "message": f"{path} is damaged: {type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # a broken file can crash the HDF5 library when it shuts down


if __name__ == "__main__":
    main()
