"""What the extractors that run a library's text network have alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spdq.errors import UsageError
from spdq.features.pretrained import Pretrained, PretrainedExtractor

GPU_BATCH = 256
CPU_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class TextEncoder(Pretrained):
    """A network of texts that is ready to run.

    Parameters
    ----------
    network, weights, preparation : as in ``Pretrained``.
    tokens : a text -> how many tokens the network gets to see of it.
    embed : n texts of as many tokens -> features (n, d), on whatever device.
    """

    tokens: Callable[[str], int]
    embed: Callable[[list[str]], Any]


class TextNetworkExtractor(PretrainedExtractor[TextEncoder]):
    """Features that a library's pretrained network makes of a line of text, as its library prepares it.

    Texts of as many tokens go through together, without padding, and a text's row depends on the others by rounding
    alone: in the last digits, if at all. Between CPU and GPU about the third digit differs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Tokenizers of Hugging Face are not for several threads at once.
        self._running = threading.Lock()

    @cached_property
    def dim(self) -> int:
        # What a network answers is asked of it: the libraries have no one name for it.
        return int(self._embed(self._checked, ["a"]).shape[1])

    def extract(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Features of n texts of one line, (n, dim) float32; ``progress(done, total)`` is called as rows get ready.

        Raises MissingExtraError without the library, NotFoundError without weights, and IncompatibleError where they or
        the preparation are not those that the spec or the stored settings say.
        """
        if isinstance(texts, str):
            raise UsageError("expected a sequence of texts, got one text: put it in a list")
        encoder = self._checked
        features = np.empty((len(texts), self.dim), np.float32)
        done = 0
        for rows in self._batches(encoder, texts):
            features[rows] = self._embed(encoder, [texts[row] for row in rows])
            done += len(rows)
            if progress is not None:
                progress(done, len(texts))
        return features

    def _batches(self, encoder: TextEncoder, texts: Sequence[str]) -> list[list[int]]:
        """Rows of texts of as many tokens, the longest first: what does not fit into memory shows at once."""
        if len(texts) == 1:
            return [[0]]
        most = GPU_BATCH if self._device == "cuda" else CPU_BATCH
        of_length: dict[int, list[int]] = {}
        with self._running:
            for row, text in enumerate(texts):
                of_length.setdefault(encoder.tokens(text), []).append(row)
        return [
            rows[start : start + most]
            for _, rows in sorted(of_length.items(), reverse=True)
            for start in range(0, len(rows), most)
        ]

    def _embed(self, encoder: TextEncoder, texts: list[str]) -> np.ndarray:
        import torch

        with self._running, torch.inference_mode(), self._half():
            features: np.ndarray = encoder.embed(texts).float().cpu().numpy()
        return features
