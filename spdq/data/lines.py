"""Texts line by line: a text of several lines is several descriptions of one thing, the first its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spdq.data.extractor import Progress, TextExtractor
from spdq.errors import IncompatibleError


def lines_of(text: str) -> list[str]:
    """The lines of a text, at least one."""
    return text.splitlines() or [""]


def line_starts(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Where the lines of each of n texts start among all their lines, and where the last end, (n + 1,)."""
    return np.cumsum([0, *(len(lines_of(text)) for text in texts)], dtype=np.int64)


def line_features(
    texts: Sequence[str], extractor: TextExtractor, progress: Progress | None = None
) -> npt.NDArray[np.float32]:
    """Features of all lines of some texts, (lines, d) float32; those of a blank line are 0.

    A line that comes several times is extracted once. Raises IncompatibleError for an extractor whose features are not
    what it says.
    """
    lines = [line for text in texts for line in lines_of(text)]
    place = {line: row for row, line in enumerate(dict.fromkeys(filter(str.strip, lines)))}
    found = np.asarray(extractor.extract([*place], progress), np.float32)
    if found.shape != (len(place), extractor.dim) or not np.isfinite(found).all():
        raise IncompatibleError(
            f"text extractor {extractor.name}: expected ({len(place)}, {extractor.dim}) finite features, got "
            f"{found.shape}: update it"
        )
    features = np.zeros((len(lines), extractor.dim), np.float32)
    told = [row for row, line in enumerate(lines) if line in place]
    features[told] = found[[place[lines[row]] for row in told]]
    return features


def text_features(lines: npt.NDArray[np.float32], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Features of whole texts, (n, d), from those of their lines: these added up, as long as they are on average.

    A text of one line has the features of that line.
    """
    if len(starts) == 1:
        return lines
    sums: npt.NDArray[np.float32] = np.add.reduceat(lines, starts[:-1])
    lengths = np.linalg.norm(lines, axis=1)
    told = np.add.reduceat(lengths > 0, starts[:-1], dtype=np.int64)
    average = np.add.reduceat(lengths, starts[:-1]) / np.maximum(told, 1)
    several = told > 1
    scale = average[several] / np.maximum(np.linalg.norm(sums[several], axis=1), 1e-12)
    sums[several] *= scale[:, None]
    return sums
