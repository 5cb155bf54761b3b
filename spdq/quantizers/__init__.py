"""Quantizers: what turns a vector into a short code.

``Codebooks`` is the light, frozen thing that search needs; ``ProductQuantizer`` and ``AdditiveQuantizer``
learn one. The estimators load scikit-learn, so they are imported at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spdq.quantizers.additive import AdditiveQuantizer, update_words
    from spdq.quantizers.codebooks import Codebooks
    from spdq.quantizers.product import ProductQuantizer

__all__ = ["AdditiveQuantizer", "Codebooks", "ProductQuantizer", "update_words"]

_HOMES = {
    "AdditiveQuantizer": "additive",
    "Codebooks": "codebooks",
    "ProductQuantizer": "product",
    "update_words": "additive",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
