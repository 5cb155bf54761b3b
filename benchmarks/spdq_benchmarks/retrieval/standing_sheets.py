"""Where methods stand, as tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from spdq_benchmarks.retrieval.cells import DEFAULT, INSTANCE_SPLITS, LABEL_SPLITS, Results
from spdq_benchmarks.retrieval.sheets import (
    NO_FIGURE,
    Entry,
    Sheet,
    direction_name,
    number,
    signed,
    topic_title,
)
from spdq_benchmarks.retrieval.standing import Column, Plane, Shortfall, Tally, kept

SHORT = (16, 64)
LONG = 128
"""Bits: what the short codes keep of the long ones."""


def tally_sheet(title: str, about: str, found: Mapping[str, Mapping[str, Tally]]) -> Sheet:
    """How often each method is best and within one deviation of the best, by split; those that never are, by name."""
    known = (*LABEL_SPLITS, *INSTANCE_SPLITS)
    met = {split for tallies in found.values() for split in tallies}
    splits = [*(split for split in known if split in met), *sorted(met - {*known})]
    rows, never = [], []
    for method, tallies in found.items():
        if not any(tally.near for tally in tallies.values()):
            never.append(method)
            continue
        entries = []
        for split in splits:
            tally = tallies.get(split)
            shown = (f"{tally.best}", f"{tally.near} of {tally.columns}") if tally else (NO_FIGURE, NO_FIGURE)
            most = max(other[split].best for other in found.values() if split in other)
            entries += [Entry(shown[0], strong=tally is not None and tally.best == most), Entry(shown[1])]
        rows.append((method, tuple(entries)))
    heads = tuple((split, name) for split in splits for name in ("best", "within one sd"))
    about += f" Never within one sd: {', '.join(never)}." if never else ""
    return Sheet(title, about, "method", heads, tuple(rows))


def shortfall_sheet(title: str, gaps: Sequence[Shortfall]) -> Sheet:
    """Every column where our default recipe is behind, one a row."""
    rows = [
        (
            f"{gap.column.topic.dataset}, {topic_title(gap.column.topic)}",
            (
                Entry(_directions(gap.column)),
                Entry(str(gap.column.bits)),
                Entry(number(gap.ours)),
                Entry(gap.best_method),
                Entry(number(gap.best)),
                Entry(signed(gap.ours - gap.best)),
                Entry(number(gap.slack)),
            ),
        )
        for gap in gaps
    ]
    heads = ("direction", "bits", DEFAULT, "best other", "its figure", "difference", "one sd")
    about = "The farthest behind first; figures over the seeds that both methods have."
    return Sheet(title, about, "figure", tuple(("", head) for head in heads), tuple(rows), is_text=True)


def column_name(column: Column) -> str:
    """Data set, protocol, split, labels, directions and bits."""
    return f"{column.topic.dataset}, {topic_title(column.topic)}, {_directions(column)}, {column.bits} bits"


def kept_sheet(results: Results) -> Sheet | None:
    """The share of the 128-bit label MAP that shorter codes keep; None where no method has both."""
    lengths = [bits for bits in SHORT if bits in results.bits]
    if LONG not in results.bits or not lengths:
        return None
    rows = []
    for method in results.methods:
        entries = []
        for bits in lengths:
            shares = [share for share, _ in kept(results, method, bits, LONG)]
            mean = math.fsum(shares) / len(shares) if shares else math.nan
            entries += [_percent(mean), _percent(shares[0] if shares else math.nan)]
        if any(entry.text != NO_FIGURE for entry in entries):
            rows.append((method, tuple(entries)))
    heads = tuple((f"{bits} bits", name) for bits in lengths for name in ("mean", "lowest"))
    about = f"Label MAP of short codes over that of {LONG} bits, over all columns of label figures."
    return Sheet(f"Share of the {LONG}-bit MAP", about, "method", heads, tuple(rows)) if rows else None


def kept_sentences(results: Results) -> list[str]:
    """Where our default recipe's short codes keep least."""
    return [
        f"{DEFAULT} keeps least at {bits} bits on {column_name(shares[0][1])}: {_percent(shares[0][0]).text}."
        for bits in SHORT
        if (shares := kept(results, DEFAULT, bits, LONG))
    ]


def pareto_sheet(found: Sequence[Plane]) -> Sheet:
    """Label MAP / instance recall of the methods on a front, of one data set, split and label set over bits."""
    labels, instances, direction = found[0].labels, found[0].instances, found[0].direction
    names = list(dict.fromkeys(name for plane in found for name in plane.front))
    if any(DEFAULT in plane.cells for plane in found):
        names = [DEFAULT, *(name for name in names if name != DEFAULT)]
    rows = [(name, tuple(_pareto_entry(plane, name) for plane in found)) for name in names]
    about = (
        f"Mean {labels.protocol} of both directions, {topic_title(labels)} / {instances.protocol}, "
        f"{instances.split}, {direction_name(direction)}. Bold: on the front, no other method is as good in both and "
        "better in one."
    )
    heads = tuple(("", f"{plane.bits} bits") for plane in found)
    return Sheet(f"{labels.dataset}, {topic_title(labels)}", about, "method", heads, tuple(rows))


def pareto_sentences(found: Sequence[Plane]) -> list[str]:
    """Where our default recipe is on the front, and what dominates it elsewhere, one by one."""
    ours = [plane for plane in found if DEFAULT in plane.cells]
    behind = [plane for plane in ours if plane.dominating(DEFAULT)]
    sentences = [f"{DEFAULT} is on the front in {len(ours) - len(behind)} of {len(ours)} planes."]
    for plane in behind:
        others = ", ".join(f"{name} {_pair(plane, name)}" for name in plane.dominating(DEFAULT))
        sentences.append(
            f"{plane.labels.dataset}, {topic_title(plane.labels)}, {plane.bits} bits: {_pair(plane, DEFAULT)}, "
            f"dominated by {others}"
        )
    return sentences


def _directions(column: Column) -> str:
    return " and ".join(map(direction_name, column.directions))


def _pareto_entry(plane: Plane, name: str) -> Entry:
    if name not in plane.cells:
        return Entry(NO_FIGURE)
    return Entry(_pair(plane, name), strong=name in plane.front)


def _pair(plane: Plane, name: str) -> str:
    x, y = (cell.mean for cell in plane.cells[name])
    return f"{number(x)} / {number(y)}"


def _percent(share: float) -> Entry:
    return Entry(NO_FIGURE if math.isnan(share) else f"{100 * share:.1f} %")
