"""Named retrieval protocols, exact under ties.

Every figure is the expected value over random order of tied items, with the lowest and highest value that any
order gives beside it. :mod:`spdq.evaluation.trec` reads and writes TREC and BEIR files.
"""

from spdq.evaluation.evaluate import chance, evaluate_labels, evaluate_ranking
from spdq.evaluation.figures import CurvePoint, Figure, Spread
from spdq.evaluation.instances import evaluate_instances
from spdq.evaluation.protocols import DEFINITIONS, Protocol, parse_protocol, parse_protocols

__all__ = [
    "DEFINITIONS",
    "CurvePoint",
    "Figure",
    "Protocol",
    "Spread",
    "chance",
    "evaluate_instances",
    "evaluate_labels",
    "evaluate_ranking",
    "parse_protocol",
    "parse_protocols",
]
