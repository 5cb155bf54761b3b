"""Weights of networks: found on this machine, fetched only where that is allowed, known by their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from spdq.errors import (
    DamagedError,
    IncompatibleError,
    MissingExtraError,
    NotFoundError,
    SpdqError,
    UsageError,
)

if TYPE_CHECKING:
    from torch import Tensor

ENDING = ".safetensors"
# Not the same weights again for other programs, nor in pickle.
_OF_NETWORK = ["*.json", "*.txt", "*.model", "*/config.json", "model*.safetensors", "[0-9]*/*.safetensors"]


@contextmanager
def library(name: str, extra: str, torchvision: bool = True) -> Iterator[None]:
    """Import ``timm`` or ``open_clip`` in its body, or, without ``torchvision``, a library that does not insist on it.

    Raises MissingExtraError, naming the extra, where that fails.
    """
    try:
        if torchvision or find_spec("torchvision"):
            _import_torchvision()
        yield
    except (ImportError, RuntimeError) as error:
        # torchvision beside a torch it was not made for fails with either.
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise MissingExtraError(
            f'this extractor needs {name}, which cannot be imported{reason}: pip install "spdq[{extra}]"'
        ) from error


def _import_torchvision() -> None:
    """Import torchvision, also a build for CUDA beside a torch for CPUs alone.

    Its compiled operators cannot be loaded there, and its import ends at the first one it describes. Nothing here
    computes boxes, so those are declared, without anything that computes them.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        import torch

        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        import torchvision  # noqa: F401


def local_file(spec: str, path: str) -> Path:
    """The file of weights that a spec names.

    Raises UsageError where it is no safetensors file by its ending, NotFoundError where it cannot be read, DamagedError
    where it is none by its content.
    """
    file = Path(path)
    if file.suffix != ENDING:
        raise UsageError(
            f"extractor {spec}: expected weights in a file {ENDING}, got {path!r}: save them with safetensors"
        )
    if not file.is_file():
        raise NotFoundError(f"extractor {spec}: no weights at {path}: put them back, or name another file")
    stored_shapes(spec, file)
    return file


def stored_shapes(spec: str, file: Path) -> dict[str, list[int]]:
    """Shapes of the tensors in a safetensors file, by name. Raises NotFoundError and DamagedError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as stored:
            return {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118
    except OSError as error:
        raise NotFoundError(f"extractor {spec}: {file} cannot be read ({error})") from error
    except SafetensorError as error:
        raise DamagedError(
            f"extractor {spec}: {file} is damaged, or no safetensors file ({error}): get it again"
        ) from error


def hub_file(spec: str, repository: str, filename: str, allow_download: bool) -> Path:
    """A safetensors file of a repository in Hugging Face's cache, fetched into it where that is allowed.

    ``repository`` may end in @REVISION. Raises NotFoundError where it is not there, or cannot be fetched.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    name, _, revision = repository.partition("@")
    # hf_hub_download can go to the network even where it is told to look at local files only.
    cached = try_to_load_from_cache(name, filename, revision=revision or None)
    if isinstance(cached, str):
        return Path(cached)
    missing = f"extractor {spec}: its weights ({name}, {filename})"
    other = f"name a file: {':'.join(spec.split(':')[:2])}:FILE{ENDING}"
    if not allow_download:
        way = "allow the download (spdq dataset import ... --allow-download)"
        raise NotFoundError(f"{missing} are not in Hugging Face's cache on this machine: {way}, or {other}")
    try:
        return Path(hf_hub_download(name, filename, revision=revision or None))
    except (EntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NotFoundError(f"{missing} cannot be fetched ({reason}): try again, or {other}") from error


def hub_folder(spec: str, repository: str, allow_download: bool) -> Path:
    """The newest snapshot of a repository in Hugging Face's cache, fetched into it where that is allowed.

    Raises NotFoundError where it is not there as a whole, or cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    missing = f"extractor {spec}: {repository}"
    other = f"name a folder: {spec.partition(':')[0]}:FOLDER"
    try:
        return Path(snapshot_download(repository, local_files_only=True, allow_patterns=_OF_NETWORK))
    except (LocalEntryNotFoundError, HFValidationError):
        if not allow_download:
            way = "allow the download (spdq dataset import ... --allow-download)"
            raise NotFoundError(
                f"{missing} is not in Hugging Face's cache on this machine: {way}, or {other}"
            ) from None
    try:
        return Path(snapshot_download(repository, allow_patterns=_OF_NETWORK))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NotFoundError(f"{missing} cannot be fetched ({reason}): try again, or {other}") from error


def unfit(spec: str, file: Path, error: Exception) -> SpdqError:
    """The error of a file that a library could not fill its network with."""
    # The libraries list every tensor, on many lines.
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return IncompatibleError(f"extractor {spec}: {file} holds other weights than this network's ({reason})")


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over the names, types, shapes and bytes of what a network stores, whatever file it came from."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {list(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
