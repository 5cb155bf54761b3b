"""Text towers of OpenCLIP as frozen features."""

from __future__ import annotations

from spdq.errors import UsageError
from spdq.features.network_texts import TextEncoder, TextNetworkExtractor
from spdq.features.open_clip_weights import LIBRARY, full_names, import_open_clip, read_network

_NO_TEXT = ("visual.", "logit_scale", "logit_bias")


class OpenClipTextExtractor(TextNetworkExtractor):
    """What a CLIP network makes of a text, not normalised: ``open_clip:NETWORK[:PRETRAINED]``.

    Specs are those of the image tower (``OpenClipExtractor``). A text that is longer than the network's context is cut
    off.
    """

    library = LIBRARY

    def _full(self) -> tuple[str, str]:
        return full_names(self._network, self._weights)

    def _load(self, spec: str) -> TextEncoder:
        import torch

        clip = import_open_clip()
        names = self._full()
        described = clip.get_model_config(self._network)["text_cfg"]
        if described.get("hf_tokenizer_name") or "siglip" in self._network.lower():
            raise UsageError(
                f"extractor {spec}: its tokenizer is described at Hugging Face alone: choose a network with CLIP's own"
            )
        network, quick_gelu = read_network(spec, *names, (), self._allow_download)
        tokenizer = clip.get_tokenizer(self._network)

        def embed(texts: list[str]) -> torch.Tensor:
            device = next(network.parameters()).device
            rows: torch.Tensor = network.encode_text(tokenizer(texts).to(device))
            return rows

        return TextEncoder(
            network=network,
            weights=lambda: {
                name: tensor for name, tensor in network.state_dict().items() if not name.startswith(_NO_TEXT)
            },
            preparation={"context_length": tokenizer.context_length, "quick_gelu": quick_gelu},
            # Every text is filled up to the context.
            tokens=lambda _: tokenizer.context_length,
            embed=embed,
        )
