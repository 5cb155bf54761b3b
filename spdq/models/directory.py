"""A model directory on disk: JSON and safetensors, hashed, never pickle (architecture, section 5)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from spdq.errors import DamagedError, IncompatibleError, NotFoundError, StorageError

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.json"
PREPROCESSOR = "preprocessor_config.json"
TEXT_EXTRACTOR = "text_extractor.json"
CARD = "README.md"

MAX_CONFIG_BYTES = 16 << 20
"""Room for the names of as many labels as a joint space can have."""
MAX_JSON_BYTES = 256 << 20
MAX_WEIGHT_BYTES = 2 << 30


@dataclass(frozen=True)
class ModelParts:
    """What a model consists of: ``config`` (JSON), ``tensors``, and its extractors' settings where it has them.

    ``vocabulary`` is that of texts as words, ``text_extractor`` are the settings of one with a name.
    """

    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    vocabulary: dict[str, Any] | None
    preprocessor: dict[str, Any] | None
    card: str = ""
    text_extractor: dict[str, Any] | None = None


def canonical_json(value: Any) -> bytes:
    """One byte string for one JSON value: sorted keys, no blanks, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def complete_config(parts: ModelParts) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Add format version, tensor shapes and file hashes to the config; return it with the other files' bytes."""
    files = {WEIGHTS: format_tensors({name: np.array(t, order="C") for name, t in parts.tensors.items()})}
    if parts.vocabulary is not None:
        files[VOCABULARY] = canonical_json(parts.vocabulary)
    if parts.preprocessor is not None:
        files[PREPROCESSOR] = canonical_json(parts.preprocessor)
    if parts.text_extractor is not None:
        files[TEXT_EXTRACTOR] = canonical_json(parts.text_extractor)
    config = {
        **parts.config,
        "format_version": FORMAT_VERSION,
        "tensors": {name: [str(t.dtype), list(t.shape)] for name, t in sorted(parts.tensors.items())},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return config, files


def fingerprint(config: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a complete config, and through its file hashes of all that decides a model's output."""
    return hashlib.sha256(canonical_json(config)).hexdigest()


def write_model(directory: str | os.PathLike[str], parts: ModelParts) -> None:
    """Write all files, ``config.json`` last: a directory is a model from then on.

    Raises
    ------
    StorageError
        The storage refuses; a model that was there before is unchanged.
    """
    folder = Path(directory)
    config, files = complete_config(parts)
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_all(folder, {**files, CARD: parts.card.encode(), CONFIG: text.encode()})
    except OSError as error:
        raise StorageError(
            f"cannot write the model: {error.strerror} ({error.filename or folder})"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or none: beside the target, flushed to the disk, then renamed."""
    _write_all(path.parent, {path.name: content})


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Rename nothing before everything is on the disk: a full one leaves the old files as they were."""
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    try:
        for name, content in files.items():
            with open(temporary[name], "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name, path in temporary.items():
            os.replace(path, folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def read_model(directory: str | os.PathLike[str]) -> tuple[ModelParts, str]:
    """Read and check a model directory; returns its parts and its fingerprint.

    Raises
    ------
    NotFoundError
        No such directory, or one without ``config.json``.
    DamagedError
        A file is missing, truncated or not the one that was written.
    IncompatibleError
        Written by a newer version.
    """
    folder = Path(directory)
    if not (folder / CONFIG).is_file():
        raise NotFoundError(f"no model in {folder}: {CONFIG} is missing. Train one with `spdq train`")
    config = _read_json(folder / CONFIG, MAX_CONFIG_BYTES, None)
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise IncompatibleError(
            f"model format {version!r} ({folder / CONFIG}): this version reads format {FORMAT_VERSION}. "
            "Use the version that wrote it, or train anew"
        )
    hashes, shapes = config.get("files"), config.get("tensors")
    if not isinstance(hashes, dict) or not isinstance(shapes, dict) or WEIGHTS not in hashes:
        raise DamagedError(f"no list of files and tensors ({folder / CONFIG}). Restore it or train anew")
    tensors = _read_tensors(folder / WEIGHTS, hashes[WEIGHTS], shapes)
    optional = {
        name: _read_json(folder / name, MAX_JSON_BYTES, hashes[name]) if name in hashes else None
        for name in (VOCABULARY, PREPROCESSOR, TEXT_EXTRACTOR)
    }
    parts = ModelParts(
        config,
        tensors,
        vocabulary=optional[VOCABULARY],
        preprocessor=optional[PREPROCESSOR],
        text_extractor=optional[TEXT_EXTRACTOR],
    )
    return parts, fingerprint(config)


def _read_bytes(path: Path, limit: int, expected_hash: str | None) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise DamagedError(f"{size} bytes, at most {limit} are possible ({path})")
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"cannot read {path}: {error.strerror}. Restore it or train anew") from error
    if expected_hash is not None and hashlib.sha256(content).hexdigest() != expected_hash:
        raise DamagedError(f"checksum mismatch ({path}). Restore it or train anew")
    return content


def _read_json(path: Path, limit: int, expected_hash: str | None) -> dict[str, Any]:
    content = _read_bytes(path, limit, expected_hash)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"not valid JSON ({path}). Restore it or train anew") from error
    if not isinstance(value, dict):
        raise DamagedError(f"expected a JSON object ({path}). Restore it or train anew")
    return value


def _read_tensors(path: Path, expected_hash: str, shapes: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    content = _read_bytes(path, MAX_WEIGHT_BYTES, expected_hash)
    try:
        tensors: dict[str, NDArray[Any]] = parse_tensors(content)
    except (SafetensorError, KeyError, TypeError) as error:
        raise DamagedError(f"not a safetensors file ({path}). Restore it or train anew") from error
    found = {name: [str(t.dtype), list(t.shape)] for name, t in tensors.items()}
    if found != dict(shapes):
        different = sorted(set(found) ^ set(shapes)) or [n for n in found if found[n] != shapes[n]]
        raise DamagedError(f"tensors differ from config.json: {', '.join(different[:3])} ({path})")
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise DamagedError(f"tensor {name} has NaN or infinite values ({path}). Train anew")
    return tensors
