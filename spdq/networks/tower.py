"""A tower on features: a hidden layer beside a linear path."""

from __future__ import annotations

from torch import Tensor, nn


class Tower(nn.Module):
    """One modality's way into the joint space.

    Parameters
    ----------
    width, hidden, dim
        Sizes of input, hidden layer and joint space.
    input_dropout, dropout
        Rates before and after the hidden layer.
    direct
        Whether there is the linear path; without it a name that was never trained on is lost.
    """

    def __init__(
        self, width: int, *, hidden: int, dim: int, input_dropout: float, dropout: float, direct: bool
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(input_dropout),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )
        self.direct = nn.Linear(width, dim, bias=False) if direct else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, width) float32 inputs to (n, dim) float32."""
        vectors: Tensor = self.body(inputs)
        return vectors if self.direct is None else vectors + self.direct(inputs)
