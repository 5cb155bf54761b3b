"""CVH: cross-view hashing where all that is known of two items' similarity is which image has which text."""

from __future__ import annotations

from typing import ClassVar

from spdq_benchmarks.baselines.cca import CCA


class CVH(CCA):
    """Cross-view hashing (Kumar, Udupa, IJCAI 2011) without labels.

    With pairs alone the affinity of items is the identity, and the paper's generalized eigenproblem is that of
    CCA: ``Cxy Cyy^-1 Cyx a = rho^2 Cxx a``, threshold 0 on centred inputs. What tells it from ``cca`` is the ridge,
    1e-4 in public code. Deviations: here that is a share of the mean variance, so that it does not hang on the
    scale of the inputs; the inverse of Cyy, which that code drops, is in its place; fewer directions than bits repeat.
    """

    name: ClassVar[str] = "cvh"
    ridge: ClassVar[float] = 1e-4
