"""The settings of a trained SPDQ model, as they stand in ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from spdq.errors import DamagedError
from spdq.models.spaces import LabelSet

Recipe = Literal["default", "paper"]

MAX_WEIGHT = 1e6
_WRITTEN_BESIDE = {"format_version", "tensors", "files", "model_type"}


@dataclass(frozen=True)
class SPDQConfig:
    """Sizes and settings of one model; everything that is needed to rebuild it from its tensors."""

    recipe: Recipe
    bits: int
    label_names: tuple[str, ...]
    label_sets: tuple[LabelSet, ...]
    image_input: str
    text_input: str
    hidden: int
    shared: int
    private: int
    direct_text: bool
    instance_weight: float
    instance_scale: float
    training: dict[str, Any]
    """Where it comes from: data set, split, rows, digest of the training ids, seed, steps, versions."""

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict with ``model_type``."""
        return {"model_type": "spdq", **asdict(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> SPDQConfig:
        """Rebuild and check.

        Raises
        ------
        DamagedError
            A setting is missing, unknown, or of another type or range.
        """
        names = {field.name for field in fields(cls)}
        given = {name: value for name, value in stored.items() if name not in _WRITTEN_BESIDE}
        if set(given) != names:
            raise DamagedError(
                f"config.json: settings {sorted(names ^ set(given))} are missing or unknown. Train anew"
            )
        for name, kind in _TYPES.items():
            if not isinstance(given[name], kind) or isinstance(given[name], bool) != (kind is bool):
                raise DamagedError(f"config.json: {name} is {given[name]!r}. Restore it or train anew")
        if given["recipe"] not in ("default", "paper"):
            raise DamagedError(f"config.json: unknown recipe {given['recipe']!r}")
        for name in ("bits", "hidden", "shared", "private"):
            if not 0 < given[name] <= 1 << 16:
                raise DamagedError(f"config.json: {name} is {given[name]}, expected 1 to 65536")
        given["label_names"] = tuple(map(str, given["label_names"]))
        given["label_sets"] = _label_sets(given["label_sets"], len(given["label_names"]))
        if not abs(given["instance_weight"]) <= MAX_WEIGHT:
            raise DamagedError(f"config.json: instance_weight is beyond {MAX_WEIGHT:g} or no number")
        if not 0 < given["instance_scale"] <= MAX_WEIGHT:
            raise DamagedError(f"config.json: instance_scale is not above 0 and at most {MAX_WEIGHT:g}")
        given["instance_weight"] = float(given["instance_weight"])
        given["instance_scale"] = float(given["instance_scale"])
        return cls(**given)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "recipe": str,
    "bits": int,
    "label_names": list,
    "label_sets": list,
    "image_input": str,
    "text_input": str,
    "hidden": int,
    "shared": int,
    "private": int,
    "direct_text": bool,
    "instance_weight": (int, float),
    "instance_scale": (int, float),
    "training": dict,
}


def _label_sets(stored: list[Any], labels: int) -> tuple[LabelSet, ...]:
    """Label sets must cover the label columns in order, without gap or overlap."""
    sets: list[LabelSet] = []
    at = 0
    for entry in stored:
        match entry:
            case [int(start), int(stop), bool(exclusive)] if start == at < stop <= labels:
                sets.append((start, stop, exclusive))
                at = stop
            case _:
                raise DamagedError(f"config.json: label set {entry!r} does not follow column {at}")
    if at != labels:
        raise DamagedError(f"config.json: label sets cover {at} of {labels} labels")
    return tuple(sets)
