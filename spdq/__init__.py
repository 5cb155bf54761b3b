"""SPDQ: compact-code cross-modal search.

Every way of learning "this image belongs with that text" ends in one joint space; every point of it becomes one
short code; every code is found by one exact scan. The names below load on first use, so that ``import spdq`` and
the search core need neither torch nor scikit-learn nor h5py.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.engine import Engine
    from spdq.index.index import Index
    from spdq.models import load_model
    from spdq.quantizers.additive import AdditiveQuantizer
    from spdq.quantizers.product import ProductQuantizer

__version__ = "0.1.0"

__all__ = ["AdditiveQuantizer", "Dataset", "Engine", "Index", "ProductQuantizer", "load_model"]

_HOMES = {
    "AdditiveQuantizer": "spdq.quantizers.additive",
    "Dataset": "spdq.data.dataset",
    "Engine": "spdq.engine",
    "Index": "spdq.index.index",
    "ProductQuantizer": "spdq.quantizers.product",
    "load_model": "spdq.models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spdq' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
