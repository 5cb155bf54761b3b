"""A model of pictures alone: nothing is trained but where its codes are precise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np
from torch import nn

from spdq.errors import DataError
from spdq.features.named_texts import ModelTexts
from spdq.models.config import ModelConfig
from spdq.models.model import Features, Floats
from spdq.models.network import Inputs, NetworkModel

NO_TEXT = (
    "this model was made of pictures without texts, so it cannot read one: query it by image, or give the "
    "pictures texts (metadata.jsonl, see data/README.md) and train on them"
)


@dataclass(frozen=True, kw_only=True)
class PictureConfig(ModelConfig):
    """Settings of a model of pictures alone."""

    model_type: ClassVar[str] = "pictures"


class PictureModel(NetworkModel[PictureConfig, nn.Module]):
    """Image features on their principal axes, of length 1: pictures are compared by the cosine."""

    config_class = PictureConfig
    title = "Pictures alone"

    @classmethod
    def build_network(
        cls, config: PictureConfig, inputs: Inputs, text_extractor: ModelTexts | None, **dropout: float
    ) -> nn.Module:
        return nn.Identity()

    @property
    def dim(self) -> int:
        return self.inputs["image"].out_width

    @property
    def text_width(self) -> int:
        return _no_text()

    @property
    def _text_extractor(self) -> ModelTexts:
        return _no_text()

    def _embed_image(self, features: Features) -> Floats:
        rows = self.inputs["image"](features)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)

    def _embed_text(self, features: Features) -> Floats:
        return _no_text()

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        return _no_text()


def _no_text() -> NoReturn:
    raise DataError(NO_TEXT)
