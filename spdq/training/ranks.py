"""The ranks of one training run: processes that share the rows of every batch and come to one result.

Every rank has the whole data set and draws the same batches. It puts its own rows through the network; the vectors of
all ranks are gathered, and every rank computes the losses on the whole batch, as a single process does: medians, class
pairs, hardest negatives are those of the batch, not of a part of it. A rank's objective counts ``1 / size``; gradients
are added up over the ranks where vectors were gathered and at the network's parameters. So they are those of a single
process, whatever a loss does with them.

``DistributedDataParallel`` is not used: it takes the mean of losses that ranks compute apart, by one ``forward`` a
step. Here towers are called several times a step, some of them on what others gave, and gradients may be sparse.

Floating-point sums of rows are added in another order than in one process. What decides anything (validation, judged
classes, closed-form turns, codebooks) is told by rank 0, so that ranks cannot come apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.numpy import load, save
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from spdq.errors import IncompatibleError, UnavailableError
from spdq.models.network import BATCH

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class Ranks:
    """One of ``size`` ranks, 0 to ``size - 1``. A single process is alone, and nothing is sent."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and reports progress."""
        return self.rank == 0

    def rows(self, n: int, step: int = 1, rank: int | None = None) -> slice:
        """Which of n rows are this rank's (or ``rank``'s): whole runs of ``step`` rows, as even as can be."""
        rank, runs = self.rank if rank is None else rank, -(-n // step)
        return slice(min(n, runs * rank // self.size * step), min(n, runs * (rank + 1) // self.size * step))

    def embed(self, embed: Callable[..., T], *inputs: Any) -> T:
        """``embed(*inputs)``, each rank its own rows, with the gradient of one process.

        Dropout draws its mask for all rows and takes its part, so that it is that of one process, too.

        Parameters
        ----------
        embed
            From inputs to a tensor, or a named tuple of tensors, of as many rows; row by row.
        inputs
            Anything with a shape that is sliced by rows: tensors, arrays of row numbers, CSR matrices.
        """
        if self.size == 1:
            return embed(*inputs)
        n = inputs[0].shape[0]
        own = self.rows(n)
        with _WholeDropout(own, n):
            part = embed(*(each[own] for each in inputs))
        if isinstance(part, tuple):
            return type(part)(*(_gather(self, each, n) for each in part))
        return cast(T, _gather(self, part, n))

    def alike(self, tensor: Tensor) -> Tensor:
        """A tensor of parameters outside the network: all ranks compute its whole gradient, and none is sent."""
        return tensor if self.size == 1 else cast(Tensor, _alike(self.size, tensor))

    def objective(self, terms: Iterable[Tensor]) -> Tensor:
        """What this rank goes down from: its share of the sum of the terms."""
        total = torch.stack(list(terms)).sum()
        return total if self.size == 1 else total / self.size

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients of parameters the sums over the ranks, which all have gradients for the same ones."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        dense = [gradient for gradient in gradients if not gradient.is_sparse]
        if dense:
            together = self._added(torch.cat([gradient.reshape(-1) for gradient in dense]))
            totals = torch.split(together, [gradient.numel() for gradient in dense])
            for gradient, total in zip(dense, totals, strict=True):
                gradient.copy_(total.view_as(gradient))
        for gradient in gradients:
            if gradient.is_sparse:
                self._added(gradient)

    def share(self, compute: Callable[..., A], *inputs: Any) -> A:
        """``compute(*inputs)`` without a gradient, each rank its own rows: the bytes of one process.

        Parts begin where one process would begin a batch: products of as many rows round alike.

        Parameters
        ----------
        compute
            From inputs to an array, or a tuple of arrays, of as many rows; row by row, in batches of ``BATCH`` or of
            what divides it.
        inputs
            As for ``embed``.
        """
        if self.size == 1:
            return compute(*inputs)
        n = inputs[0].shape[0]
        own = self.rows(n, BATCH)
        part: Any = compute(*(each[own] for each in inputs))
        if isinstance(part, tuple):
            return cast(A, tuple(self._shared(each, n) for each in part))
        return cast(A, self._shared(part, n))

    def _shared(self, part: NDArray[Any], n: int) -> NDArray[Any]:
        return self._gathered(torch.from_numpy(np.ascontiguousarray(part)), n, BATCH).numpy()

    def told(self, figures: dict[str, float]) -> dict[str, float]:
        """The figures as rank 0 has them."""
        if self.size == 1:
            return figures
        found: dict[str, float] = json.loads(self._sent(json.dumps(figures).encode()))
        return found

    def told_arrays(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Arrays by name as rank 0 has them."""
        if self.size == 1:
            return arrays
        # Safetensors stores the bytes as they lie, whatever the order of the axes.
        return load(self._sent(save({name: np.ascontiguousarray(array) for name, array in arrays.items()})))

    def begin_alike(self, parameters: Iterable[Tensor]) -> None:
        """Give parameters the values that they have on rank 0."""
        if self.size > 1:
            with _talking(self):
                for parameter in parameters:
                    dist.broadcast(parameter.detach(), 0)

    def check_alike(self, what: str, value: str) -> None:
        """Raise IncompatibleError on every rank unless all have the same ``value``; ``what`` says what it is."""
        if self.size == 1:
            return
        values = self._each(value.encode())
        others = [str(rank) for rank in range(self.size) if values[rank] != values[0]]
        if others:
            raise IncompatibleError(
                f"ranks of one run need the same {what}: rank {', '.join(others)} of {self.size} has another than "
                "rank 0. Give all ranks the same files and the same settings"
            )

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            self._each(b"")

    def _each(self, content: bytes) -> list[bytes]:
        """What each rank has to say."""
        lengths = self._gathered(torch.tensor([len(content)]), self.size)
        parts = [torch.zeros(int(lengths.max()), dtype=torch.uint8) for _ in range(self.size)]
        own = torch.zeros_like(parts[0])
        own.numpy()[: len(content)] = np.frombuffer(content, np.uint8)
        if len(own):
            with _talking(self):
                dist.all_gather(parts, own)
        return [part[:length].numpy().tobytes() for part, length in zip(parts, lengths.tolist(), strict=True)]

    def _sent(self, content: bytes) -> bytes:
        """The content that rank 0 has."""
        length = torch.tensor([len(content)])
        with _talking(self):
            dist.broadcast(length, 0)
            sent = torch.empty(int(length), dtype=torch.uint8)
            if self.is_first:
                sent.numpy()[:] = np.frombuffer(content, np.uint8)
            dist.broadcast(sent, 0)
        return sent.numpy().tobytes()

    def _added(self, tensor: Tensor) -> Tensor:
        with _talking(self):
            dist.all_reduce(tensor)
        return tensor

    def _gathered(self, part: Tensor, n: int, step: int = 1) -> Tensor:
        """All n rows, of which each rank has its part."""
        lengths = [len(range(n)[self.rows(n, step, rank)]) for rank in range(self.size)]
        own = part.new_zeros((max(lengths), *part.shape[1:]))
        own[: len(part)] = part
        if not own.numel():
            return part.new_zeros((n, *part.shape[1:]))
        parts = [torch.empty_like(own) for _ in lengths]
        with _talking(self):
            dist.all_gather(parts, own)
        return torch.cat([each[:length] for each, length in zip(parts, lengths, strict=True)])


ALONE = Ranks()
"""A single process."""


class _Gathered(torch.autograd.Function):
    """The rows of all ranks; a row's gradient is the sum of what all ranks have for it."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, part: Tensor, n: int) -> Tensor:
        ctx.ranks, ctx.rows = ranks, ranks.rows(n)
        return ranks._gathered(part, n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        whole = ctx.ranks._added(gradient.clone()) if gradient.numel() else gradient
        return None, whole[ctx.rows], None


class _Alike(torch.autograd.Function):
    """The same tensor; its gradient is that of the whole objective."""

    @staticmethod
    def forward(ctx: Any, size: int, tensor: Tensor) -> Tensor:
        ctx.size = size
        return tensor.view_as(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient * ctx.size


# The torch of today has no types for them.
_gather: Callable[..., Any] = _Gathered.apply
_alike: Callable[..., Any] = _Alike.apply


class _WholeDropout(TorchFunctionMode):
    """Dropout of some ``rows`` of ``n`` as it would be among all of them."""

    def __init__(self, rows: slice, n: int) -> None:
        super().__init__()
        self.rows, self.n = rows, n

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not functional.dropout or not kwargs["training"]:
            return func(*args, **kwargs)
        (inputs,) = args
        mask = functional.dropout(inputs.new_ones((self.n, *inputs.shape[1:])), kwargs["p"])
        return inputs * mask[self.rows]


@contextmanager
def _talking(ranks: Ranks) -> Iterator[None]:
    """What the process group raises where a rank is gone or out of reach, as an error of this library."""
    try:
        yield
    except RuntimeError as error:
        raise UnavailableError(
            f"rank {ranks.rank} of {ranks.size} has lost another rank, which ended or is out of reach "
            f"({reason(error)}). Start all ranks again, with --resume once there is a checkpoint"
        ) from error


def reason(error: RuntimeError) -> str:
    """The first sentence of what torch says, without the place in its sources."""
    said = re.sub(r"^\[\S*:\d+\]\s*", "", str(error).strip())
    return re.split(r"\.\s|\n", said, maxsplit=1)[0].rstrip(".") or type(error).__name__
