"""What the extractors that run a library's image network have alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from spdq.errors import UsageError
from spdq.features.images import ImageSource, load_row
from spdq.features.prefetch import prefetched
from spdq.features.pretrained import Pretrained, PretrainedExtractor

if TYPE_CHECKING:
    import torch

GPU_BATCH = 32
# On a CPU a batch of 8 is some 15 % faster a picture, but a query by one picture would cost all 8.
CPU_BATCH = 1


@dataclass(frozen=True, kw_only=True)
class Encoder(Pretrained):
    """A network of pictures that is ready to run.

    Parameters
    ----------
    network, weights, preparation : as in ``Pretrained``.
    embed : float32 pictures (n, 3, h, w) -> features (n, d).
    prepare : a PIL image of mode RGB -> (3, h, w), as the network was trained to see it.
    """

    embed: Callable[[torch.Tensor], torch.Tensor]
    prepare: Callable[[Image.Image], torch.Tensor]


class NetworkExtractor(PretrainedExtractor[Encoder]):
    """Features that a library's pretrained network makes of a picture, all of it, as its library prepares it.

    On a CPU pictures go through one by one, on a GPU, taken where torch sees one, in batches of one shape and half
    precision. So a row is bitwise the same in any company on one machine with one number of torch threads; between
    machines the last digits differ, between CPU and GPU about the third.
    """

    regions = 1

    @cached_property
    def dim(self) -> int:
        encoder = self._checked
        # What a network answers is asked of it: the libraries have no one name for it.
        return int(self._forward(encoder, [encoder.prepare(Image.new("RGB", (8, 8)))]).shape[1])

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
        encoder = self._checked
        features = np.empty((len(images), self.dim), np.float32)
        done = 0
        for ready in prefetched(
            lambda row: encoder.prepare(Image.fromarray(load_row(images, row))), len(images), self._batch
        ):
            features[done : done + len(ready)] = self._forward(encoder, ready)
            done += len(ready)
            if progress is not None:
                progress(done, len(images))
        return features

    @property
    def _batch(self) -> int:
        return GPU_BATCH if self._device == "cuda" else CPU_BATCH

    def _forward(self, encoder: Encoder, ready: list[torch.Tensor]) -> np.ndarray:
        """Features (n, dim) of prepared pictures, at most a batch."""
        import torch

        padding = [torch.zeros_like(ready[0])] * (self._batch - len(ready))
        batch = torch.stack(ready + padding)
        batch = batch.to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode(), self._half():
            features: np.ndarray = encoder.embed(batch)[: len(ready)].float().cpu().numpy()
        return features

    def _place(self, network: torch.nn.Module) -> None:
        import torch

        # torch's types do not know this way to call ``to``; convolutions are some 10 % faster for it.
        anything: Any = network
        anything.to(self._device, memory_format=torch.channels_last)
