"""Where ``spdq dataset`` writes a data set, and the options that decide its split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.output import json_option, print_facts

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.data.splits import SplitKind

PATH = click.Path(path_type=Path)
KINDS = click.Choice(["seen", "unseen", "paired"])

out_argument = click.argument("out", metavar="OUT.h5", type=PATH)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="For what is drawn at random.  [default: that of the split file, or 0]",
)
split_file_option = click.option(
    "--split-file",
    metavar="FILE.json",
    type=PATH,
    help="The split: read if the file is there, else written to it.",
)
resplit_option = click.option(
    "--resplit", is_flag=True, help="Another split may replace that of the same items in OUT.h5."
)


@dataclass(frozen=True)
class Target:
    """Where a data set goes, and which split was asked for."""

    out: Path
    kind: SplitKind | None
    seed: int | None
    split_file: Path | None
    resplit: bool
    as_json: bool

    def check(self) -> None:
        """Say before the work that a file cannot be written."""
        from spdq_cli.inputs import check_output

        for file in (self.out, self.split_file):
            if file is not None:
                check_output(file)

    def settle(self, make: Callable[[SplitKind, int], Dataset], fixed_by: Sequence[str] = ()) -> Dataset:
        """The data set with the split that it is to have."""
        from spdq.data.split_files import settle_split

        return settle_split(
            make, self.out, self.split_file, self.kind, self.seed, resplit=self.resplit, fixed_by=fixed_by
        )

    def save(self, made: Dataset, found: Mapping[str, Any] | None = None) -> None:
        """Write the data set, and its split where the file is missing; show what they hold."""
        from spdq.data.split_files import write_split

        made.save(self.out)
        facts = {"file": str(self.out), **(found or {}), **made.describe()}
        if self.split_file is not None:
            is_read = self.split_file.exists()
            if not is_read:
                write_split(self.split_file, made)
            facts["split_file"] = {"file": str(self.split_file), "read": is_read}
        print_facts(facts, self.as_json)


_IMPORT_OPTIONS = (
    out_argument,
    click.option(
        "--split",
        "kind",
        type=KINDS,
        help="seen: train and search all but the queries; unseen: train one half, search the other; "
        "paired: search the queries' own items.  [default: that of the split file, or seen]",
    ),
    seed_option,
    split_file_option,
    resplit_option,
    json_option,
)


def into_target(command: Callable[..., None]) -> Callable[..., None]:
    """Argument and options that all imports have; the command gets them as ``target``."""

    @wraps(command)
    def run(
        out: Path,
        kind: SplitKind | None,
        seed: int | None,
        split_file: Path | None,
        resplit: bool,
        as_json: bool,
        **others: Any,
    ) -> None:
        target = Target(out, kind, seed, split_file, resplit, as_json)
        target.check()
        command(target, **others)

    for option in reversed(_IMPORT_OPTIONS):
        run = option(run)
    return run
