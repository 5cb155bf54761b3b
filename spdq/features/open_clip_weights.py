"""The networks of OpenCLIP (Ilharco et al. 2021; as CLIP, Radford et al., ICML 2021): their names and weights."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from spdq.errors import NotFoundError, UsageError
from spdq.features.weights import ENDING, hub_file, library, local_file, unfit

LIBRARY = "open_clip"


def full_names(network: str, weights: str | None) -> tuple[str, str]:
    """The network, and its weights: a tag of OpenCLIP, the first where none is given, or the path of a file.

    Raises UsageError for unknown ones.
    """
    clip = import_open_clip()
    if clip.get_model_config(network) is None:
        near = difflib.get_close_matches(network, clip.list_models(), cutoff=0.4)
        hint = f"nearest are {', '.join(near)}" if near else "open_clip.list_models() has them all"
        raise UsageError(f"extractor open_clip: unknown network {network!r}: {hint}")
    tags = clip.list_pretrained_tags_by_model(network)
    if weights is None:
        if not tags:
            raise UsageError(
                f"extractor open_clip:{network}: OpenCLIP has no weights of it: name a file, "
                f"open_clip:{network}:FILE{ENDING}"
            )
        return network, tags[0]
    if clip.get_pretrained_cfg(network, weights):
        # OpenCLIP takes a tag in any case, and with - for _.
        return network, weights.lower().replace("-", "_")
    if not weights.endswith(ENDING):
        known = f"known tags are {', '.join(tags)}" if tags else "it has no tags"
        raise UsageError(
            f"extractor open_clip:{network}: expected a tag or a file {ENDING}, got {weights!r}; {known}"
        )
    return network, str(Path(weights).absolute())


def read_network(
    spec: str, network: str, tag: str, preparation: tuple[str, ...], allow_download: bool
) -> tuple[Any, bool]:
    """The network with the weights of a tag or a file, and whether they mean the quick GELU.

    Of what the tag says of pictures, ``preparation`` is kept. Raises NotFoundError, DamagedError, IncompatibleError and
    UsageError.
    """
    clip = import_open_clip()
    config: dict[str, Any] = clip.get_pretrained_cfg(network, tag)
    if "hf_model_name" in clip.get_model_config(network)["text_cfg"]:
        raise UsageError(
            f"extractor {spec}: its text tower is described at Hugging Face alone: choose a network with its own"
        )
    file = _tagged(spec, network, config, allow_download) if config else local_file(spec, tag)
    quick_gelu = bool(config.get("quick_gelu"))
    try:
        made = clip.create_model(
            network,
            pretrained=str(file),
            force_quick_gelu=quick_gelu,
            force_preprocess_cfg={key: config[key] for key in preparation if config.get(key) is not None},
        )
    except Exception as error:
        # Whatever a file holds that is not the network's: RuntimeError, KeyError, SafetensorError, ...
        raise unfit(spec, file, error) from error
    return made, quick_gelu


def _tagged(spec: str, network: str, config: dict[str, Any], allow_download: bool) -> Path:
    """The file of a tag's weights."""
    repository, _, filename = config.get("hf_hub", "").rpartition("/")
    if not repository:
        raise NotFoundError(
            f"extractor {spec}: OpenCLIP has no weights of it at Hugging Face: "
            f"name a file, open_clip:{network}:FILE{ENDING}"
        )
    stored = Path(filename or "open_clip_model").with_suffix(ENDING).name
    return hub_file(spec, repository, stored, allow_download)


def import_open_clip() -> Any:
    """The package open_clip. Raises MissingExtraError."""
    with library("open_clip", "open-clip"):
        import open_clip
    return open_clip
