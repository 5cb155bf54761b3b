"""A trained Mixer: query images and documents of image and text in one space."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from spdq.features.named_texts import ModelTexts
from spdq.models.config import TwoInputsConfig
from spdq.models.inputs import by_region
from spdq.models.model import Features, Floats
from spdq.models.network import Inputs, NetworkModel, Share, in_batches, whole
from spdq.networks.mixer import MixerNetwork


@dataclass(frozen=True, kw_only=True)
class MixerConfig(TwoInputsConfig):
    """Settings of a Mixer."""

    model_type: ClassVar[str] = "mixer"

    regions: int
    hidden: int
    dim: int
    concepts: int
    slots: int
    parts: int


class MixerModel(NetworkModel[MixerConfig, MixerNetwork]):
    """Encoder, memory and fusion. Vectors have length 1.

    ``embed_image`` is a query's vector. Documents are units: with image and text, of text alone (``embed_text``), or
    of an image alone, which is another vector than the same image's as a query. The input map of images is that of one
    region.
    """

    config_class = MixerConfig
    title = "Mixer"

    @classmethod
    def build_network(
        cls,
        config: MixerConfig,
        inputs: Inputs,
        text_extractor: ModelTexts | None,
        **dropout: float,
    ) -> MixerNetwork:
        return MixerNetwork(
            inputs["image"].out_width,
            config.regions,
            inputs["text"].out_width,
            hidden=config.hidden,
            dim=config.dim,
            concepts=config.concepts,
            slots=config.slots,
            parts=config.parts,
            **dropout,
        )

    @property
    def dim(self) -> int:
        return self.config.dim

    @property
    def image_width(self) -> int:
        return super().image_width * self.config.regions

    def _embed_image(self, features: Features) -> Floats:
        return query_vectors(self.network, self._regions(features))

    def _embed_image_alone(self, features: Features) -> Floats:
        return document_vectors(self.network, self._regions(features), None, None)

    def _embed_text(self, features: Features) -> Floats:
        return document_vectors(self.network, None, self.inputs["text"](features), self._parts(features))

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        return document_vectors(
            self.network, self._regions(image), self.inputs["text"](text), self._parts(text)
        )

    def _regions(self, features: Features) -> Floats:
        return by_region(self.inputs["image"], features, self.config.regions)

    def _parts(self, features: Features) -> NDArray[np.int64]:
        return memory_parts(features, self.config.parts)


def memory_parts(features: Features, parts: int) -> NDArray[np.int64]:
    """Which part of the memory reads each text (n, d), (n,): a hash of its features decides.

    A text's part has not learned from that very text, so the concepts of texts trained on are as good, and no better,
    as those of any other text.
    """
    rows = sparse.csr_matrix(features, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    found = np.empty(rows.shape[0], np.int64)
    for row, (start, stop) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        columns = zlib.crc32(rows.indices[start:stop].astype(np.int64).tobytes())
        found[row] = zlib.crc32(rows.data[start:stop].tobytes(), columns) % parts
    return found


def query_vectors(network: MixerNetwork, images: Floats) -> Floats:
    """Vectors (n, dim) of query images from tower inputs, the network in evaluation mode."""
    return in_batches(lambda rows: network.query(network.encoder(rows)), network.norm.bias.shape[0], images)


def document_vectors(
    network: MixerNetwork,
    images: Floats | None,
    texts: Floats | None,
    parts: NDArray[np.int64] | None,
    share: Share = whole,
) -> Floats:
    """Vectors (n, dim) of documents from tower inputs of the image, the text (read by ``parts``) or both.

    ``share`` says who computes which rows, see there.
    """
    dim = network.norm.bias.shape[0]
    if texts is None or parts is None:
        if images is None:
            raise ValueError("documents need images or texts")

        def of_images(own: Floats) -> Floats:
            return in_batches(lambda rows: network.document(network.encoder(rows), None), dim, own)

        return share(of_images, images)
    vectors = np.empty((len(texts), dim), np.float32)
    for part in np.unique(parts).tolist():
        rows = parts == part

        def embed(text: Tensor, image: Tensor | None = None, part: int = part) -> Tensor:
            regions = None if image is None else network.encoder(image)
            return network.document(regions, network.memory(text, part))

        def of_both(*own: Floats, embed: Callable[..., Tensor] = embed) -> Floats:
            return in_batches(embed, dim, *own)

        vectors[rows] = share(of_both, texts[rows], *(() if images is None else (images[rows],)))
    return vectors
