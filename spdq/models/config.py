"""The settings of trained models, as they stand in ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from spdq.errors import DamagedError
from spdq.models.spaces import LabelSet, Modality

Recipe = Literal["default", "paper"]

MAX_WEIGHT = 1e6
MAX_SIZE = 1 << 16
_WRITTEN_BESIDE = {"format_version", "tensors", "files", "model_type"}
_STORED_AS: dict[Any, type | tuple[type, ...]] = {float: (int, float), tuple: list}
"""JSON has lists for tuples, and 1 may stand for 1.0."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and settings of one model: everything that is needed to rebuild it from its tensors.

    A whole number is a size from 1 to 65,536, a float a weight of at most 1e6 either way.
    """

    model_type: ClassVar[str]

    recipe: Recipe
    bits: int
    training: dict[str, Any]
    """Where it comes from: data set, split, rows, digest of the training ids, seed, steps, versions."""
    image_input: str
    """Kind of the image tower's input map."""

    @property
    def inputs(self) -> dict[Modality, str]:
        """Kinds of the input maps by modality."""
        return {"image": self.image_input}

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict with ``model_type``."""
        return {"model_type": self.model_type, **asdict(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild and check.

        Raises
        ------
        DamagedError
            A setting is missing, unknown, or of another type or range.
        """
        kinds = {name: kind for name, kind in get_type_hints(cls).items() if get_origin(kind) is not ClassVar}
        given = {name: value for name, value in stored.items() if name not in _WRITTEN_BESIDE}
        if set(given) != set(kinds):
            raise DamagedError(
                f"config.json: settings {sorted(set(kinds) ^ set(given))} are missing or unknown. Train anew"
            )
        for name, hint in kinds.items():
            kind = str if hint is Recipe else get_origin(hint) or hint
            if not isinstance(given[name], _STORED_AS.get(kind, kind)) or isinstance(given[name], bool) != (
                kind is bool
            ):
                raise DamagedError(f"config.json: {name} is {given[name]!r}. Restore it or train anew")
            if kind is int and not 0 < given[name] <= MAX_SIZE:
                raise DamagedError(f"config.json: {name} is {given[name]}, expected 1 to {MAX_SIZE}")
            if kind is float:
                if not abs(given[name]) <= MAX_WEIGHT:
                    raise DamagedError(f"config.json: {name} is beyond {MAX_WEIGHT:g} or no number")
                given[name] = float(given[name])
        if given["recipe"] not in get_args(Recipe):
            raise DamagedError(f"config.json: unknown recipe {given['recipe']!r}")
        return cls(**cls._converted(given))

    @classmethod
    def _converted(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What a system has to check and convert beyond types and ranges. Raises DamagedError."""
        return given


@dataclass(frozen=True, kw_only=True)
class TwoInputsConfig(ModelConfig):
    """Settings of a system that has an input map of texts, too."""

    text_input: str

    @property
    def inputs(self) -> dict[Modality, str]:
        return {**super().inputs, "text": self.text_input}


@dataclass(frozen=True, kw_only=True)
class SPDQConfig(TwoInputsConfig):
    """Settings of an SPDQ model."""

    model_type: ClassVar[str] = "spdq"

    label_names: tuple[str, ...]
    label_sets: tuple[LabelSet, ...]
    hidden: int
    shared: int
    private: int
    direct_text: bool
    instance_weight: float
    instance_scale: float

    @classmethod
    def _converted(cls, given: dict[str, Any]) -> dict[str, Any]:
        names = tuple(map(str, given["label_names"]))
        if not given["instance_scale"] > 0:
            raise DamagedError(f"config.json: instance_scale is not above 0 and at most {MAX_WEIGHT:g}")
        return {
            **given,
            "label_names": names,
            "label_sets": _label_sets(given["label_sets"], len(names)),
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
