"""What the extractors that run a library's image network have alike."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from spdq.errors import IncompatibleError, UsageError
from spdq.features.images import ImageSource, load_image
from spdq.features.weights import weights_sha256

if TYPE_CHECKING:
    import torch

GPU_BATCH = 32
# On a CPU a batch of 8 is some 15 % faster a picture, but a query by one picture would cost all 8.
CPU_BATCH = 1
DIGITS = 16
_DIGEST = re.compile(rf"(.*)#([0-9a-f]{{{DIGITS}}})")


@dataclass(frozen=True)
class Encoder:
    """A network that is ready to run.

    Parameters
    ----------
    network : in evaluation mode.
    embed : float32 pictures (n, 3, h, w) -> features (n, d).
    weights : the part of the network that makes the features.
    prepare : a PIL image of mode RGB -> (3, h, w), as the network was trained to see it.
    preparation : what decides ``prepare``, JSON-able.
    """

    network: torch.nn.Module
    embed: Callable[[torch.Tensor], torch.Tensor]
    weights: torch.nn.Module
    prepare: Callable[[Image.Image], torch.Tensor]
    preparation: dict[str, Any]


class NetworkExtractor(ABC):
    """Features that a library's pretrained network makes of a picture, all of it, as its library prepares it.

    Spec ``LIBRARY:NETWORK``, ``LIBRARY:NETWORK:WEIGHTS`` and, as ``name`` writes it, either with #DIGEST: the first 16
    hex digits of the weights' SHA-256. A digest, and every other setting that was stored, is compared when the network
    is read, at the first use. Weights come from this machine; see ``downloading``.

    On a CPU pictures go through one by one, on a GPU, taken where torch sees one, in batches of one shape and half
    precision. So a row is bitwise the same in any company on one machine with one number of torch threads; between
    machines the last digits differ, between CPU and GPU about the third.
    """

    library: str
    """The first part of the spec."""
    regions = 1

    def __init__(
        self,
        network: str,
        weights: str | None = None,
        digest: str | None = None,
        stored: dict[str, Any] | None = None,
    ) -> None:
        self._network = network
        self._weights = weights
        self._digest = digest
        self._stored = stored or {}
        self._allow_download = False

    @classmethod
    def from_spec(cls, argument: str | None, settings: dict[str, Any]) -> Self:
        """Rebuild from a spec's part after the colon and the rest of ``settings()``, as far as there is one.

        Raises UsageError where no network is named.
        """
        digest = None
        if match := _DIGEST.fullmatch(argument or ""):
            argument, digest = match.groups()
        network, colon, weights = (argument or "").partition(":")
        if not network or (colon and not weights):
            raise UsageError(
                f"extractor {cls.library}: expected {cls.library}:NETWORK or {cls.library}:NETWORK:WEIGHTS, "
                f"got {cls.library}:{argument or ''}"
            )
        return cls(network, weights or None, digest, settings)

    def downloading(self) -> Self:
        """The same extractor, allowed to fetch weights that are not on this machine."""
        other = type(self)(self._network, self._weights, self._digest, self._stored)
        other._allow_download = True
        return other

    @abstractmethod
    def _full(self) -> tuple[str, str | None]:
        """Names of the network and its weights, nothing left to a default. Raises UsageError for unknown ones."""

    @abstractmethod
    def _load(self, spec: str) -> Encoder:
        """Read the network. ``spec`` is for messages. Raises NotFoundError, DamagedError and IncompatibleError."""

    @cached_property
    def spec(self) -> str:
        """The full spec without the digest. Raises UsageError for an unknown network, MissingExtraError."""
        return ":".join([self.library, *filter(None, self._full())])

    @property
    def name(self) -> str:
        """The full spec: network, weights and their digest."""
        if self._digest is not None:
            given = ":".join([self.library, *filter(None, (self._network, self._weights))])
            return f"{given}#{self._digest}"
        return f"{self.spec}#{self._sha256[:DIGITS]}"

    @cached_property
    def dim(self) -> int:
        encoder = self._checked
        # What a network answers is asked of it: the libraries have no one name for it.
        return int(self._embed(encoder, [Image.new("RGB", (8, 8))]).shape[1])

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; ``image_extractor(**settings)`` is the same again."""
        encoder = self._checked
        return {"name": self.name, "weights_sha256": self._sha256, **encoder.preparation}

    def extract(
        self, images: Sequence[ImageSource], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Features of n pictures (paths, bytes, PIL images), (n, dim) float32.

        Raises what ``load_image`` raises (a picture without a path is named by its row), MissingExtraError without the
        library, NotFoundError without weights, and IncompatibleError where they or the preparation are not those that
        the spec or the stored settings say.
        """
        if isinstance(images, str | bytes | Path | Image.Image):
            raise UsageError(
                f"expected a sequence of images, got one {type(images).__name__}: put it in a list"
            )
        encoder, size = self._checked, self._batch
        features = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), size):
            rows = range(start, min(start + size, len(images)))
            pictures = []
            for row in rows:
                source = images[row]
                name = None if isinstance(source, Path | str) else f"image {row}"
                pictures.append(Image.fromarray(load_image(source, name=name)))
            features[rows.start : rows.stop] = self._embed(encoder, pictures)
            if progress is not None:
                progress(rows.stop, len(images))
        return features

    @cached_property
    def _device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def _batch(self) -> int:
        return GPU_BATCH if self._device == "cuda" else CPU_BATCH

    def _embed(self, encoder: Encoder, pictures: list[Image.Image]) -> np.ndarray:
        import torch

        ready = [encoder.prepare(picture) for picture in pictures]
        batch = torch.zeros((self._batch, *ready[0].shape))
        for slot, picture in enumerate(ready):
            batch[slot] = picture
        half = torch.bfloat16 if self._device == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
        batch = batch.to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self._device, half, enabled=self._device == "cuda"):
            features: np.ndarray = encoder.embed(batch)[: len(ready)].float().cpu().numpy()
        return features

    @cached_property
    def _encoder(self) -> Encoder:
        import torch

        spec = self.spec
        # Random starting weights would advance torch's global random state.
        with torch.random.fork_rng(devices=[]):
            encoder = self._load(spec)
        # torch's types do not know this way to call ``to``; convolutions are some 10 % faster for it.
        network: Any = encoder.network.eval()
        network.to(memory_format=torch.channels_last)
        return encoder

    @cached_property
    def _sha256(self) -> str:
        return weights_sha256(self._encoder.weights)

    @cached_property
    def _checked(self) -> Encoder:
        """The encoder on its device, once it is known to be the one that was asked for."""
        encoder = self._encoder
        if self._digest not in (None, self._sha256[:DIGITS]):
            raise IncompatibleError(
                f"extractor {self.spec}: the weights here have SHA-256 {self._sha256[:DIGITS]}..., but those with "
                f"{self._digest}... are asked for: bring these back, or import the data again and train anew"
            )
        here = {"weights_sha256": self._sha256, **encoder.preparation}
        if unknown := sorted(set(self._stored) - set(here)):
            raise UsageError(
                f"unknown setting of extractor {self.spec}: {unknown[0]!r}; known are {', '.join(here)}"
            )
        for key, value in self._stored.items():
            if here[key] != value:
                raise IncompatibleError(
                    f"extractor {self.spec} has {key} {here[key]!r}, but {value!r} is asked for"
                )
        encoder.network.to(self._device)
        return encoder
