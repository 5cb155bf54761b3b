"""Image towers of OpenCLIP as frozen features."""

from __future__ import annotations

from spdq.features.network_images import Encoder, NetworkExtractor
from spdq.features.open_clip_weights import LIBRARY, full_names, import_open_clip, read_network

_PREPARATION = ("mean", "std", "interpolation", "resize_mode")


class OpenClipExtractor(NetworkExtractor):
    """What a CLIP network makes of a picture, not normalised: ``open_clip:NETWORK[:PRETRAINED]``.

    PRETRAINED is one of OpenCLIP's tags for that network, read from Hugging Face's cache, or a safetensors file of the
    whole network; without it, OpenCLIP's first tag. The picture is prepared as the tag says. Only safetensors are read,
    never pickle.
    """

    library = LIBRARY

    def _full(self) -> tuple[str, str]:
        return full_names(self._network, self._weights)

    def _load(self, spec: str) -> Encoder:
        network, quick_gelu = read_network(spec, *self._full(), _PREPARATION, self._allow_download)
        clip = import_open_clip()
        prepared = clip.transform.PreprocessCfg(**network.visual.preprocess_cfg)
        preparation = {
            key: list(value) if isinstance(value, tuple) else value for key, value in vars(prepared).items()
        }
        return Encoder(
            network=network,
            embed=network.encode_image,
            weights=network.visual.state_dict,
            prepare=clip.transform.image_transform_v2(prepared, is_train=False),
            preparation=preparation | {"quick_gelu": quick_gelu},
        )
