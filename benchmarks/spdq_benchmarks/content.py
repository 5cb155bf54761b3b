"""Digests of what decides a benchmark's result: data, code and the versions of packages."""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from spdq.data.dataset import Dataset
from spdq.models.directory import canonical_json

PACKAGES = ("numba", "numpy", "scikit-learn", "scipy", "torch")
"""Those whose version may change a figure."""

NOT_DECISIVE = {
    "spdq",
    "spdq.data.dataset",
    "spdq.errors",
    "spdq.models.card",
    "spdq.models.config",
    "spdq.models.directory",
    "spdq.training.checkpoint",
    "spdq.training.log",
    "spdq.training.needs",
    "spdq.training.recipes",
}
"""Modules left out with what only they import: checks, files, and numbers that are hashed with the settings."""


def dataset_digest(dataset: Dataset) -> str:
    """Hex SHA-256 of everything in a data set that a run uses: of its split, the query rows."""
    hashed = hashlib.sha256()
    parts: dict[str, Any] = {
        "ids": dataset.ids,
        "image": dataset.image_features,
        "text": dataset.text_features,
        "labels": dataset.labels,
        "query": dataset.split.query if dataset.split else None,
    }
    for log in ("clicks", "grades"):
        if (found := getattr(dataset, log)) is not None:
            parts |= {f"{log}/{name}": getattr(found, name) for name in ("query", "item", "value")}
            hashed.update(canonical_json(found.queries))
    if dataset.classes is not None:
        parts |= {"classes": dataset.classes, "regions": np.array(dataset.image_regions)}
    if dataset.text_extractor is not None:
        parts["lines"] = dataset.line_features
        hashed.update(canonical_json(dataset.text_extractor))
    for name, part in parts.items():
        arrays = [part.data, part.indices, part.indptr] if sparse.issparse(part) else [part]
        for array in arrays:
            shape = None if array is None else [array.dtype.str, *array.shape]
            hashed.update(canonical_json([name, shape]))
            if array is not None:
                hashed.update(np.ascontiguousarray(array).tobytes())
    words = [dataset.label_names, dataset.texts, dataset.vocabulary, dataset.image_extractor]
    hashed.update(canonical_json(words))
    return hashed.hexdigest()


@cache
def package_versions() -> dict[str, str]:
    """Versions of :data:`PACKAGES`."""
    return {name: version(name) for name in PACKAGES}


def code_digest(start: Iterable[str], left_out: set[str]) -> str:
    """Hex SHA-256 of our modules in ``start`` and all they import, without comments, docstrings and layout.

    Those ``left_out``, and what only they import, do not count.
    """
    hashed = hashlib.sha256()
    for name in sorted(imported_modules(list(start), left_out)):
        hashed.update(f"{name}\n{_code(name)}\n".encode())
    return hashed.hexdigest()


def imported_modules(start: list[str], left_out: set[str]) -> set[str]:
    """Our modules among those named and all that they import, directly or not, but for those left out."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in found | left_out and _file(name) is not None:
            found.add(name)
            waiting += _imports(name)
    return found


def _imports(module: str) -> Iterator[str]:
    """Dotted names that may be modules.

    Imports for the type checker alone count only in a package's ``__init__``, where they stand for lazy ones.
    """
    file = _file(module)
    lazy = file is not None and file.name == "__init__.py"
    waiting: list[ast.AST] = [_tree(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not lazy:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


@cache
def _file(name: str) -> Path | None:
    """The source of one of our modules, None for other packages' and for what is no module."""
    package, *inner = name.split(".")
    if package not in ("spdq", "spdq_kernels", "spdq_benchmarks"):
        return None
    root = Path(importlib.import_module(package).__file__ or "").parent
    path = root.joinpath(*inner)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _tree(name: str) -> ast.Module:
    file = _file(name)
    return ast.parse(file.read_text("utf-8") if file else "")


@cache
def _code(name: str) -> str:
    return bare_code(_tree(name))


def bare_code(tree: ast.Module) -> str:
    """What a module does, as text: no comments, docstrings or layout."""
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a bare string: a docstring, or one below a name."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
