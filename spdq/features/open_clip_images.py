"""Image towers of OpenCLIP (Ilharco et al. 2021; networks as CLIP, Radford et al., ICML 2021) as frozen features."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from spdq.errors import NotFoundError, UsageError
from spdq.features.network_images import Encoder, NetworkExtractor
from spdq.features.weights import ENDING, hub_file, library, local_file, unfit

_PREPARATION = ("mean", "std", "interpolation", "resize_mode")


class OpenClipExtractor(NetworkExtractor):
    """What a CLIP network makes of a picture, not normalised: ``open_clip:NETWORK[:PRETRAINED]``.

    PRETRAINED is one of OpenCLIP's tags for that network, read from Hugging Face's cache, or a safetensors file of the
    whole network; without it, OpenCLIP's first tag. The picture is prepared as the tag says. Only safetensors are read,
    never pickle.
    """

    library = "open_clip"

    def _full(self) -> tuple[str, str | None]:
        clip = import_open_clip()
        if clip.get_model_config(self._network) is None:
            near = difflib.get_close_matches(self._network, clip.list_models(), cutoff=0.4)
            hint = f"nearest are {', '.join(near)}" if near else "open_clip.list_models() has them all"
            raise UsageError(f"extractor open_clip: unknown network {self._network!r}: {hint}")
        tags = clip.list_pretrained_tags_by_model(self._network)
        if self._weights is None:
            if not tags:
                raise UsageError(
                    f"extractor open_clip:{self._network}: OpenCLIP has no weights of it: name a file, "
                    f"open_clip:{self._network}:FILE{ENDING}"
                )
            return self._network, tags[0]
        if clip.get_pretrained_cfg(self._network, self._weights):
            # OpenCLIP takes a tag in any case, and with - for _.
            return self._network, self._weights.lower().replace("-", "_")
        if not self._weights.endswith(ENDING):
            known = f"known tags are {', '.join(tags)}" if tags else "it has no tags"
            raise UsageError(
                f"extractor open_clip:{self._network}: expected a tag or a file {ENDING}, "
                f"got {self._weights!r}; {known}"
            )
        return self._network, str(Path(self._weights).absolute())

    def _load(self, spec: str) -> Encoder:
        clip = import_open_clip()
        tag = self._full()[1] or ""
        config: dict[str, Any] = clip.get_pretrained_cfg(self._network, tag)
        if "hf_model_name" in clip.get_model_config(self._network)["text_cfg"]:
            raise UsageError(
                f"extractor {spec}: its text tower is described at Hugging Face alone: choose a network with its own"
            )
        file = self._tagged(spec, config) if config else local_file(spec, tag)
        seen = {key: config[key] for key in _PREPARATION if config.get(key) is not None}
        try:
            network = clip.create_model(
                self._network,
                pretrained=str(file),
                force_quick_gelu=bool(config.get("quick_gelu")),
                force_preprocess_cfg=seen,
            )
        except Exception as error:
            # Whatever a file holds that is not the network's: RuntimeError, KeyError, SafetensorError, ...
            raise unfit(spec, file, error) from error
        prepared = clip.transform.PreprocessCfg(**network.visual.preprocess_cfg)
        preparation = {
            key: list(value) if isinstance(value, tuple) else value for key, value in vars(prepared).items()
        }
        preparation["quick_gelu"] = bool(config.get("quick_gelu"))
        prepare = clip.transform.image_transform_v2(prepared, is_train=False)
        return Encoder(network, network.encode_image, network.visual, prepare, preparation)

    def _tagged(self, spec: str, config: dict[str, Any]) -> Path:
        """The file of a tag's weights."""
        repository, _, filename = config.get("hf_hub", "").rpartition("/")
        if not repository:
            raise NotFoundError(
                f"extractor {spec}: OpenCLIP has no weights of it at Hugging Face: "
                f"name a file, open_clip:{self._network}:FILE{ENDING}"
            )
        stored = Path(filename or "open_clip_model").with_suffix(ENDING).name
        return hub_file(spec, repository, stored, self._allow_download)


def import_open_clip() -> Any:
    """The package open_clip. Raises MissingExtraError."""
    with library("open_clip", "open-clip"):
        import open_clip
    return open_clip
