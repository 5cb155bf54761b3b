"""What the extractors that run a library's pretrained network have alike: their spec, and that it is that network."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from spdq.errors import IncompatibleError, UsageError
from spdq.features.weights import weights_sha256

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

DIGITS = 16
_DIGEST = re.compile(rf"(.*)#([0-9a-f]{{{DIGITS}}})", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network that is ready to run.

    Parameters
    ----------
    network : in evaluation mode.
    weights : gives the tensors that make the features, by name.
    preparation : what decides how an input is prepared, JSON-able.
    """

    network: torch.nn.Module
    weights: Callable[[], Mapping[str, torch.Tensor]]
    preparation: dict[str, Any]


E = TypeVar("E", bound=Pretrained)


class PretrainedExtractor(ABC, Generic[E]):
    """Features that a library's pretrained network makes.

    Spec ``LIBRARY:NETWORK``, ``LIBRARY:NETWORK:WEIGHTS`` and, as ``name`` writes it, either with #DIGEST: the first 16
    hex digits of the weights' SHA-256. A digest, and every other setting that was stored, is compared when the network
    is read, at the first use. Weights come from this machine; see ``downloading``. The network runs on a GPU where
    torch sees one, in half precision.
    """

    library: str
    """The first part of the spec."""

    def __init__(
        self,
        network: str,
        weights: str | None = None,
        digest: str | None = None,
        stored: dict[str, Any] | None = None,
    ) -> None:
        self._network = network
        self._weights = weights
        self._digest = digest
        self._stored = stored or {}
        self._allow_download = False

    @classmethod
    def from_spec(cls, argument: str | None, settings: dict[str, Any]) -> Self:
        """Rebuild from a spec's part after the colon and the rest of ``settings()``, as far as there is one.

        Raises UsageError where no network is named.
        """
        digest = None
        if match := _DIGEST.fullmatch(argument or ""):
            argument, digest = match.groups()
        network, weights = cls._parts(argument or "")
        return cls(network, weights, digest, settings)

    @classmethod
    def _parts(cls, argument: str) -> tuple[str, str | None]:
        """Network and weights of a spec's part after the colon, without the digest. Raises UsageError."""
        network, colon, weights = argument.partition(":")
        if not network or (colon and not weights):
            raise UsageError(
                f"extractor {cls.library}: expected {cls.library}:NETWORK or {cls.library}:NETWORK:WEIGHTS, "
                f"got {cls.library}:{argument}"
            )
        return network, weights or None

    def downloading(self) -> Self:
        """The same extractor, allowed to fetch weights that are not on this machine."""
        other = type(self)(self._network, self._weights, self._digest, self._stored)
        other._allow_download = True
        return other

    @abstractmethod
    def _full(self) -> tuple[str, str | None]:
        """Names of the network and its weights, nothing left to a default. Raises UsageError for unknown ones."""

    @abstractmethod
    def _load(self, spec: str) -> E:
        """Read the network. ``spec`` is for messages. Raises NotFoundError, DamagedError and IncompatibleError."""

    @cached_property
    def spec(self) -> str:
        """The full spec without the digest. Raises UsageError for an unknown network, MissingExtraError."""
        return ":".join([self.library, *filter(None, self._full())])

    @property
    def name(self) -> str:
        """The full spec: network, weights and their digest."""
        if self._digest is not None:
            given = ":".join([self.library, *filter(None, (self._network, self._weights))])
            return f"{given}#{self._digest}"
        return f"{self.spec}#{self._sha256[:DIGITS]}"

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; the registry makes the same extractor of it again."""
        encoder = self._checked
        return {"name": self.name, "weights_sha256": self._sha256, **encoder.preparation}

    @cached_property
    def _device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _half(self) -> AbstractContextManager[Any]:
        """Half precision on a GPU, which its networks were not hurt by; on a CPU it would be slower."""
        import torch

        half = torch.bfloat16 if self._device == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
        return torch.autocast(self._device, half, enabled=self._device == "cuda")

    @cached_property
    def _encoder(self) -> E:
        import torch

        spec = self.spec
        # Random starting weights would advance torch's global random state.
        with torch.random.fork_rng(devices=[]):
            encoder = self._load(spec)
        encoder.network.eval()
        return encoder

    @cached_property
    def _sha256(self) -> str:
        return weights_sha256(self._encoder.weights())

    @cached_property
    def _checked(self) -> E:
        """The encoder on its device, once it is known to be the one that was asked for."""
        encoder = self._encoder
        if self._digest not in (None, self._sha256[:DIGITS]):
            raise IncompatibleError(
                f"extractor {self.spec}: the weights here have SHA-256 {self._sha256[:DIGITS]}..., but those with "
                f"{self._digest}... are asked for: bring these back, or import the data again and train anew"
            )
        here = {"weights_sha256": self._sha256, **encoder.preparation}
        if unknown := sorted(set(self._stored) - set(here)):
            raise UsageError(
                f"unknown setting of extractor {self.spec}: {unknown[0]!r}; known are {', '.join(here)}"
            )
        for key, value in self._stored.items():
            if here[key] != value:
                raise IncompatibleError(
                    f"extractor {self.spec} has {key} {here[key]!r}, but {value!r} is asked for"
                )
        self._place(encoder.network)
        return encoder

    def _place(self, network: torch.nn.Module) -> None:
        """Bring the network to its device."""
        network.to(self._device)
