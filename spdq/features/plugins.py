"""Extractors of other packages: entry points of the groups ``spdq.image_extractors`` and ``spdq.text_extractors``.

In the package's pyproject.toml, for specs that start with ``mine``::

    [project.entry-points."spdq.image_extractors"]
    mine = "my_package.extractor:MyExtractor"

``MyExtractor.from_spec(argument, settings)`` is given the spec's part after the colon (None without a colon) and what
a stored ``settings()`` holds beside the name (nothing for a spec alone). It answers with an ``ImageExtractor``, or a
``TextExtractor``, whose ``name`` starts with ``mine`` and whose settings it takes again, and raises
``spdq.errors.UsageError`` and ``IncompatibleError`` for what it does not know or is not. One with a method
``downloading`` is asked for it where the network is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from spdq.errors import IncompatibleError, SpdqError, UsageError

Kind = Literal["image", "text"]

PARTS: dict[Kind, tuple[str, ...]] = {
    "image": ("name", "dim", "regions", "settings", "extract"),
    "text": ("name", "dim", "settings", "extract"),
}


def plugin_extractor(
    kind: Kind, home: str, argument: str | None, settings: dict[str, Any], built_in: Sequence[str]
) -> Any:
    """The extractor of images or texts that an installed package adds under the name ``home``.

    Raises UsageError where none or several do, IncompatibleError where the package's own cannot be loaded or is none.
    """
    points = entry_points(group=f"{__name__.partition('.')[0]}.{kind}_extractors")
    found = [point for point in points if point.name == home]
    if not found:
        known = ", ".join(sorted({*built_in, *points.names}))
        raise UsageError(f"unknown {kind} extractor {home!r}: known are {known}")
    packages = sorted({_package(point) for point in found})
    if len(found) > 1:
        raise UsageError(f"{kind} extractor {home!r} is added by {' and '.join(packages)}: uninstall one")
    where = f"{kind} extractor {home!r} of the package {packages[0]}"
    try:
        extractor = found[0].load().from_spec(argument, settings)
        missing = [part for part in PARTS[kind] if not hasattr(extractor, part)]
        name = None if missing else extractor.name
    except SpdqError:
        raise
    except Exception as error:
        # It is the package's own code: anything can come out of it.
        raise IncompatibleError(
            f"{where} cannot be loaded ({type(error).__name__}: {error}): update or uninstall it"
        ) from error
    if missing:
        raise IncompatibleError(f"{where} has no {', '.join(missing)}: update or uninstall it")
    if not isinstance(name, str) or name.partition(":")[0] != home:
        raise IncompatibleError(f"{where} calls itself {name!r}: its specs must start with {home!r}")
    return extractor


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
