"""``spdq warmup``."""

from __future__ import annotations

import click


@click.command(short_help="Compile the search kernels and cache them.")
def warmup() -> None:
    """Compile the search kernels and cache them, so that the first search need not."""
    import spdq_kernels

    spdq_kernels.warmup()
