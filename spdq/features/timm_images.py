"""Image networks of timm (Wightman, PyTorch Image Models) as frozen features."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from spdq.errors import NotFoundError, UsageError
from spdq.features.network_images import Encoder, NetworkExtractor
from spdq.features.weights import ENDING, hub_file, library, local_file, stored_shapes, unfit


class TimmExtractor(NetworkExtractor):
    """Pooled features before the classifier of a network of timm: ``timm:NETWORK`` or ``timm:NETWORK:FILE``.

    NETWORK is as timm writes it, with or without its tag (``resnet18.a1_in1k``). The picture is prepared as the
    network's ``pretrained_cfg`` says: size, interpolation, crop, mean and standard deviation. The weights are those of
    Hugging Face's cache (``model.safetensors``), or the file's, which may have a classifier of any number of classes or
    none. Only safetensors are read, never pickle.
    """

    library = "timm"

    def _full(self) -> tuple[str, str | None]:
        config = self._config()
        network = f"{config['architecture']}.{config['tag']}" if config.get("tag") else self._network
        return network, None if self._weights is None else str(Path(self._weights).absolute())

    def _config(self) -> dict[str, Any]:
        """What timm knows of the network."""
        timm = import_timm()
        try:
            config = timm.models.get_pretrained_cfg(self._network, allow_unregistered=False)
        except RuntimeError:
            known = [*timm.list_models(), *timm.list_pretrained()]
            near = difflib.get_close_matches(self._network, known)
            hint = f"nearest are {', '.join(near)}" if near else "timm.list_models() has them all"
            raise UsageError(f"extractor timm: unknown network {self._network!r}: {hint}") from None
        return dict(config.to_dict())

    def _load(self, spec: str) -> Encoder:
        timm = import_timm()
        config = self._config()
        file, classes = self._file(spec, config)
        overlay = {"file": str(file), "custom_load": False, "num_classes": classes}
        try:
            # With the classifier that the file has, timm insists on every tensor; without, it would let any be missing.
            network = timm.create_model(
                self._network, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes
            )
        except Exception as error:
            # Whatever a file holds that is not the network's: RuntimeError, KeyError, SafetensorError, ...
            raise unfit(spec, file, error) from error
        if classes:
            network.reset_classifier(0)
        seen = timm.data.resolve_model_data_config(network)
        preparation = {key: list(value) if isinstance(value, tuple) else value for key, value in seen.items()}
        prepare = timm.data.create_transform(**seen, is_training=False)
        return Encoder(
            network=network,
            embed=network,
            weights=network.state_dict,
            prepare=prepare,
            preparation=preparation,
        )

    def _file(self, spec: str, config: dict[str, Any]) -> tuple[Path, int]:
        """The file of the weights, and of how many classes its classifier is."""
        classes = int(config.get("num_classes") or 0)
        if self._weights is None:
            if not config.get("hf_hub_id"):
                raise NotFoundError(
                    f"extractor {spec}: timm has no weights of it at Hugging Face: name a file, {spec}:FILE{ENDING}"
                )
            return hub_file(spec, config["hf_hub_id"], "model.safetensors", self._allow_download), classes
        file = local_file(spec, self._full()[1] or "")
        head = config.get("classifier") or ""
        first = head if isinstance(head, str) else head[0]
        shape = stored_shapes(spec, file).get(f"{first}.weight")
        return file, shape[0] - int(config.get("label_offset") or 0) if shape else 0


def import_timm() -> Any:
    """The package timm. Raises MissingExtraError."""
    with library("timm", "timm"):
        import timm
    return timm
