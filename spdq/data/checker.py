"""Check one untrusted HDF5 file, in a process of its own: ``python checker.py FILE MAX_BYTES LAYOUT``.

A hostile file can read other local files (external storage, links, virtual data sets), declare terabytes in a
few kilobytes, or make the HDF5 library crash or spin for ever. So a child that may die looks first: only hard
links to the objects of the layout, plain types and filters, sizes in proportion, and every byte read once and
compared with its checksum. It answers one JSON line: ``{}`` or ``{"error": class name, "message": text}``.
LAYOUT is the JSON of a ``Layout``.

Imports nothing of spdq: it starts by its path, without the caller's ``sys.path``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

MAX_MEMORY = 2 << 30
SECONDS = 30
BYTES_A_SECOND = 32 << 20
"""Allowance on top of SECONDS for big files."""
MAX_RATIO = 1000
FREE_BYTES = 1 << 20
"""An array may declare MAX_RATIO times what it stores, plus this much."""
READ_BYTES = 8 << 20
MAX_ATTRIBUTE_BYTES = 1 << 16

FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
}
OTHER_FORMAT = "OtherFormat"
"""Why a good HDF5 file of another format is refused; the other reasons are error classes of ``spdq.errors``."""


@dataclass(frozen=True)
class Layout:
    """What a file of one format holds, and what messages call it.

    Parameters
    ----------
    format, version : the root attributes that tell what a file is; older versions are read too.
    file, title, short : what messages call a file, the format, and the format of a file they named.
    groups : path of each group -> the names it may hold.
    attributes : path of a group -> its attributes that are read and go into the manifest.
    or_data_set : groups that may be a data set instead.
    """

    format: str
    version: int
    file: str
    title: str
    short: str
    groups: Mapping[str, Sequence[str]]
    attributes: Mapping[str, Sequence[str]]
    or_data_set: Sequence[str] = ()


class Refused(Exception):
    """Why the file is not to be read: the name of an error class, or OTHER_FORMAT, and the message."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


def manifest(data_sets: Mapping[str, str], attributes: Mapping[str, Any]) -> str:
    """SHA-256 over everything the file says: each data set's type, shape and checksum, and each attribute."""
    lines = [f"{path} {value}" for path, value in sorted(data_sets.items())]
    lines += [f"{path} {value!r}" for path, value in sorted(attributes.items()) if value is not None]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def manifest_line(data_set: Any, checksum: str) -> str:
    """What ``manifest`` takes of one data set: stored type, shape and SHA-256."""
    return f"{data_set.dtype.str} {tuple(int(size) for size in data_set.shape)} {checksum}"


def read_attribute(node: Any, name: str, where: str) -> Any:
    """A fixed-length string, an integer, or a tuple of integers; None where there is no such attribute."""
    if name not in node.attrs:
        return None
    attribute = h5py.h5a.open(node.id, name.encode())
    kind, space = attribute.get_type(), attribute.get_space()
    is_string = isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str()
    if not (is_string or isinstance(kind, h5py.h5t.TypeIntegerID)):
        raise Refused("DataError", f"attribute {name} must be a fixed-length string or an integer ({where})")
    count = space.get_simple_extent_npoints()
    if count < 1 or (is_string and count > 1) or count * kind.get_size() > MAX_ATTRIBUTE_BYTES:
        raise Refused(
            "DataError", f"attribute {name} has {count} values of {kind.get_size()} bytes ({where})"
        )
    value = node.attrs[name]
    if is_string:
        return value.decode() if isinstance(value, bytes) else str(value)
    return int(value) if getattr(value, "ndim", 0) == 0 else tuple(int(one) for one in value.ravel())


def check(path: str, max_bytes: int, layout: Layout) -> None:
    """Raise ``Refused`` unless the file may be read."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if "signature not found" in str(error):
            raise Refused("DataError", f"not an HDF5 file: {path}") from None
        raise Refused("DamagedError", f"{path} is truncated or damaged: {error}") from None
    with file:
        _check_version(file, path, layout)
        data_sets: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        _walk(file, "/", path, layout, data_sets, attributes)
        declared = sum(_check_data_set(data_set, f"{path}:{where}") for where, data_set in data_sets.items())
        if declared > max_bytes:
            raise Refused(
                "DataError", f"{path} declares {declared} bytes, the limit is {max_bytes}: raise max_bytes"
            )
        _check_contents(file, path, data_sets, attributes)


def _check_version(file: Any, path: str, layout: Layout) -> None:
    if read_attribute(file, "format", path) != layout.format:
        message = f'{path} is not a {layout.file}: its attribute format is not "{layout.format}"'
        raise Refused(OTHER_FORMAT, message)
    version, known = read_attribute(file, "version", path), layout.version
    if not isinstance(version, int) or version < 1:
        raise Refused("DataError", f"{path}: attribute version must be {known}, got {version!r}")
    if version > known:
        newer = (
            f"{layout.title} {version} is from a newer version, this one reads up to {known}: upgrade spdq"
        )
        raise Refused("IncompatibleError", f"{path}: {newer}")


def _walk(
    group: Any, where: str, path: str, layout: Layout, data_sets: dict[str, Any], attributes: dict[str, Any]
) -> None:
    """Collect the layout's data sets and attributes below ``group``; only hard links to known names pass."""
    allowed = layout.groups[where]
    for name in layout.attributes.get(where, ()):
        attributes[f"{where}@{name}"] = read_attribute(group, name, f"{path}:{where}")
    if len(group) > len(allowed):
        message = f"{path}:{where} holds {len(group)} objects, the {layout.short} has {len(allowed)}"
        raise Refused("DataError", message)
    for name in group:
        child = f"{where.rstrip('/')}/{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "external" if isinstance(link, h5py.ExternalLink) else "soft"
            raise Refused("DataError", f"{kind} links are not allowed ({path}:{child})")
        if name not in allowed:
            message = f"{path}:{child} is not part of the {layout.title}, version {layout.version}"
            raise Refused("DataError", message)
        node_class = group.get(name, getclass=True)
        is_group = child in layout.groups
        if node_class is h5py.Dataset and (not is_group or child in layout.or_data_set):
            data_sets[child] = group[name]
        elif node_class is h5py.Group and is_group:
            _walk(group[name], child, path, layout, data_sets, attributes)
        else:
            raise Refused("DataError", f"{path}:{child} must be a {'group' if is_group else 'data set'}")


def _check_data_set(data_set: Any, where: str) -> int:
    """Type and storage of one data set -> bytes it declares."""
    kind = data_set.id.get_type()
    if isinstance(kind, h5py.h5t.TypeStringID):
        if kind.is_variable_str():
            raise Refused(
                "DataError", f"variable-length strings are not allowed, use fixed-length UTF-8 ({where})"
            )
    elif not isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID):
        raise Refused("DataError", f"only integers, floats and fixed-length strings are allowed ({where})")
    return check_storage(data_set, where)


def check_storage(data_set: Any, where: str) -> int:
    """Storage, filters and size of one data set, whatever its type -> bytes it declares. Raises ``Refused``."""
    plan = data_set.id.get_create_plist()
    if plan.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise Refused("DataError", f"virtual data sets are not allowed ({where})")
    if plan.get_external_count():
        raise Refused("DataError", f"external storage is not allowed ({where})")
    for number in range(plan.get_nfilters()):
        if (code := plan.get_filter(number)[0]) not in FILTERS:
            names = ", ".join(FILTERS.values())
            raise Refused("DataError", f"HDF5 filter {code} is not allowed, only {names} are ({where})")
    if data_set.shape is None:
        raise Refused("DataError", f"the data set has no shape ({where})")
    declared: int = math.prod(data_set.shape, start=data_set.id.get_type().get_size())
    stored = data_set.id.get_storage_size()
    if declared > MAX_RATIO * stored + FREE_BYTES:
        raise Refused("DataError", f"declares {declared} bytes but stores {stored} ({where})")
    return declared


def _check_contents(file: Any, path: str, data_sets: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Read every byte; where the file carries checksums all must be there and agree."""
    expected = {where: read_attribute(data_set, "sha256", where) for where, data_set in data_sets.items()}
    expected_manifest = read_attribute(file, "sha256", "/")
    with_checksums = expected_manifest is not None or any(expected.values())
    lines = {}
    for where, data_set in data_sets.items():
        checksum = _digest(data_set, f"{path}:{where}")
        lines[where] = manifest_line(data_set, checksum)
        if with_checksums and checksum != expected[where]:
            raise Refused("DamagedError", f"{path}:{where}: checksum mismatch; get or make the file again")
    if with_checksums and manifest(lines, attributes) != expected_manifest:
        raise Refused(
            "DamagedError", f"{path}:/: checksum of names, sizes and attributes does not match; make it again"
        )


def _digest(data_set: Any, where: str) -> str:
    """SHA-256 of the stored values in C order, read in blocks of rows."""
    digest = hashlib.sha256()
    try:
        if data_set.size == 0 or data_set.ndim == 0:
            digest.update(data_set[()].tobytes() if data_set.ndim == 0 else b"")
            return digest.hexdigest()
        step = max(1, READ_BYTES // max(1, data_set.nbytes // len(data_set)))
        for start in range(0, len(data_set), step):
            digest.update(data_set[start : start + step].tobytes())
    except (OSError, RuntimeError, ValueError) as error:
        raise Refused("DamagedError", f"{where} cannot be read: {error}") from None
    return digest.hexdigest()


def _limit(path: str) -> None:
    """Never search for filter plugins; die after the deadline (even inside C) and beyond the memory limit."""
    while h5py.h5pl.size():
        h5py.h5pl.remove(0)
    signal.alarm(SECONDS + os.path.getsize(path) // BYTES_A_SECOND)
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    path, max_bytes, layout = sys.argv[1], int(sys.argv[2]), Layout(**json.loads(sys.argv[3]))
    answer = {}
    try:
        _limit(path)
        check(path, max_bytes, layout)
    except Refused as refused:
        answer = {"error": refused.error, "message": str(refused)}
    except MemoryError:
        answer = {"error": "DataError", "message": f"{path} needs more than {MAX_MEMORY >> 30} GiB to check"}
    except Exception as error:  # h5py raises many kinds where the structure of a file is broken
        answer = {"error": "DamagedError", "message": f"{path} is damaged: {type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # a broken file can crash the HDF5 library when it shuts down


if __name__ == "__main__":
    main()
