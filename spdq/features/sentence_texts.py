"""Text networks of sentence-transformers (Reimers and Gurevych, EMNLP 2019) as frozen features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spdq.errors import IncompatibleError, NotFoundError, UsageError
from spdq.features.network_texts import TextEncoder, TextNetworkExtractor
from spdq.features.weights import hub_folder, library

if TYPE_CHECKING:
    import torch

LIBRARY = "sentence-transformers"
MODULES = "modules.json"
"""What makes a folder one of this library."""
PROBE = "Two Cats, naïve café; ﬁve 漢字 कि don't — #1 🙂 supercalifragilistic"
"""A text whose tokens show case folding, accents, forms and scripts."""


class SentenceExtractor(TextNetworkExtractor):
    """What a network of sentence-transformers makes of a text: ``sentence-transformers:NAME`` or ``...:FOLDER``.

    NAME is as at Hugging Face, where one without / is of the library's own (``all-MiniLM-L6-v2``); it is read from
    Hugging Face's cache. FOLDER is what ``SentenceTransformer.save_pretrained`` writes. Only safetensors are read,
    never pickle, and no code that comes with a network is run.
    """

    library = LIBRARY

    @classmethod
    def _parts(cls, argument: str) -> tuple[str, None]:
        if not argument.strip():
            raise UsageError(
                f"extractor {LIBRARY}: expected {LIBRARY}:NAME or {LIBRARY}:FOLDER, got {LIBRARY}:"
            )
        return argument, None

    def _full(self) -> tuple[str, None]:
        folder = Path(self._network).expanduser()
        if folder.is_dir():
            return str(folder.absolute()), None
        if folder.is_absolute() or self._network.startswith(".") or self._network.count("/") > 1:
            raise NotFoundError(
                f"extractor {LIBRARY}:{self._network}: no such folder: put it back, or name another"
            )
        return self._network if "/" in self._network else f"{LIBRARY}/{self._network}", None

    def _load(self, spec: str) -> TextEncoder:
        sentence_transformers = import_sentence_transformers()
        folder = Path(self._full()[0])
        if not folder.is_absolute():
            folder = hub_folder(spec, str(folder), self._allow_download)
        _check_folder(spec, folder)
        try:
            with _quiet():
                network = sentence_transformers.SentenceTransformer(
                    str(folder), device="cpu", local_files_only=True, model_kwargs=_reading()
                )
                drawn = _drawn_anew(network, folder)
        except Exception as error:
            # Whatever a folder holds that is no such network: OSError, RuntimeError, KeyError, ValueError, ...
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise IncompatibleError(
                f"extractor {spec}: {folder} cannot be read as a network of {LIBRARY} ({reason}): get it again"
            ) from error
        if used := [name for name in drawn if "pooler." not in name]:
            raise IncompatibleError(f"extractor {spec}: {folder} has no weights for {used[0]}: get it again")

        def weights() -> dict[str, torch.Tensor]:
            return {
                name: tensor
                for name, tensor in network.state_dict().items()
                if not name.endswith(tuple(drawn))
            }

        def tokens(text: str) -> int:
            parts = network.preprocess([text]).values()
            return max(int(part.numel()) for part in parts if hasattr(part, "numel"))

        def embed(texts: list[str]) -> Any:
            return network.encode(
                texts, batch_size=len(texts), show_progress_bar=False, convert_to_tensor=True
            )

        return TextEncoder(
            network=network, weights=weights, preparation=_preparation(network), tokens=tokens, embed=embed
        )


def _reading() -> dict[str, Any]:
    import torch

    return {"use_safetensors": True, "dtype": torch.float32}


def _check_folder(spec: str, folder: Path) -> None:
    if not (folder / MODULES).is_file():
        raise NotFoundError(
            f"extractor {spec}: {folder} is none of a network of {LIBRARY}, {MODULES} is missing: name one that "
            "SentenceTransformer.save_pretrained wrote"
        )
    for pickled in sorted(folder.rglob("pytorch_model*.bin")):
        if not any(pickled.parent.glob("model*.safetensors")):
            raise IncompatibleError(
                f"extractor {spec}: {pickled} is in pickle, which is not read: save the network anew, as safetensors"
            )


def _drawn_anew(network: Any, folder: Path) -> list[str]:
    """Weights that the files lack: transformers draws them, and tells only who reads the network from it directly.

    Many files lack those of a pooler that sentence-transformers does not use.
    """
    inner = network.transformers_model
    if inner is None:
        return []
    first = json.loads((folder / MODULES).read_text("utf-8"))[0]["path"]
    told = type(inner).from_pretrained(
        folder / first, output_loading_info=True, local_files_only=True, **_reading()
    )
    return sorted(told[1]["missing_keys"])


def _preparation(network: Any) -> dict[str, Any]:
    """What decides how a text becomes tokens and these one vector, as far as no update of the library renames it."""
    vocabulary: dict[str, int] = getattr(network.tokenizer, "get_vocab", dict)()
    digest = hashlib.sha256()
    for word, number in sorted(vocabulary.items()):
        digest.update(f"{number} {word}\n".encode("utf-8", "surrogatepass"))
    if (seen := network.preprocess([PROBE]).get("input_ids")) is not None:
        digest.update(str(seen.tolist()).encode())
    modes = [getattr(module, "pooling_mode", None) for module in network]
    return {
        "max_tokens": network.max_seq_length,
        "prompt": network.prompts.get(network.default_prompt_name) or "",
        "pooling": [mode if isinstance(mode, str) else "+".join(mode) for mode in modes if mode],
        "modules": [type(module).__name__ for module in network],
        "tokenizer_sha256": digest.hexdigest(),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and its table of weights, which are judged here."""
    from transformers import utils

    logging: Any = utils.logging
    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def import_sentence_transformers() -> Any:
    """The package sentence_transformers. Raises MissingExtraError."""
    with library(LIBRARY, LIBRARY, torchvision=False):
        import sentence_transformers
    return sentence_transformers
