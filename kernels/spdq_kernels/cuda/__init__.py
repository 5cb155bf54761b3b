"""The exact scan on a CUDA device: ``CudaCodes`` holds codes there and gives what ``spdq_kernels.scan`` gives.

Needs the extra ``cuda``; nothing else of ``spdq_kernels`` imports this.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("numba_cuda") is None:
    raise ModuleNotFoundError(
        'the scan on a CUDA device needs numba-cuda: pip install "spdq[cuda]"', name="numba_cuda"
    )

from spdq_kernels.cuda.codes import CudaCodes

__all__ = ["CudaCodes"]
