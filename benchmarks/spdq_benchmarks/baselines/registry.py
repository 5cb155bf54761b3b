"""Every baseline by its name on the command line; a class is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from spdq.errors import UsageError
from spdq_benchmarks.baselines.contract import Baseline

HOMES = {
    "cvh": "cvh:CVH",
    "cca": "cca:CCA",
    "cca-itq": "cca_itq:CCAITQ",
    "imh": "imh:IMH",
    "cmssh": "cmssh:CMSSH",
    "scm-seq": "scm:SCMSequential",
    "scm-orth": "scm:SCMOrthogonal",
    "cmfh": "cmfh:CMFH",
    "lssh": "lssh:LSSH",
    "stmh": "stmh:STMH",
    "seph-km": "seph:SePHKMeans",
    "seph-rnd": "seph:SePHRandom",
    "corr-ae": "corr_ae:CorrAE",
    "ccq": "ccq:CCQ",
    "cmcq": "cmcq:CMCQ",
    "cdq": "cdq:CDQ",
    "chn": "chn:CHN",
    "dcmh": "dcmh:DCMH",
    "prdh": "prdh:PRDH",
    "ssah": "ssah:SSAH",
    "djsrh": "djsrh:DJSRH",
    "ucch": "ucch:UCCH",
    "ridge-opq": "ridge_opq:RidgeOPQ",
    "kernel-ridge-aq": "kernel_ridge_aq:KernelRidgeAQ",
    "mlp-aq": "mlp_aq:MLPPosteriorsAQ",
    "supcon-pq": "supcon_pq:SupConPQ",
    "svd-opq": "svd_opq:SVDOPQ",
    "cca-opq": "cca_opq:CCAOPQ",
}
"""Module inside this package and class, by name."""


def baseline_class(name: str) -> type[Baseline]:
    """The class of a baseline; UsageError lists the known names."""
    if name not in HOMES:
        raise UsageError(f"unknown baseline {name!r}: known are {', '.join(HOMES)}")
    module, _, made = HOMES[name].partition(":")
    return cast(type[Baseline], getattr(import_module(f"spdq_benchmarks.baselines.{module}"), made))
