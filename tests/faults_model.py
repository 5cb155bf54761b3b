"""A script of changes to an index that repeats itself exactly, and what the index must hold after each of them.

What a change does follows from its number, from the seed and from the ids that are there; what an item holds follows
from its id and from the number of the change that wrote it. So processes agree on everything without talking.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from random import Random

import numpy as np
from oracles_index import integer_codebooks

CODEBOOKS = integer_codebooks(n_codebooks=4, n_words=16, part=2, seed=7)
ATTRIBUTES = {"colour": "str", "size": "int", "weight": "float", "tags": "set"}
COLOURS = ("red", "green", "blau größer", None)
WHERE = "colour = 'red' and size >= 30 or has(tags, 'b')"
QUERIES = np.random.default_rng(11).integers(-3, 4, (3, CODEBOOKS.dim)).astype(np.float32)
MOST_ITEMS = 1000

NOT_CREATED = -1
"""The number of the last change of an index that is not there yet; creating it is number 0."""


@dataclass(frozen=True)
class Change:
    """One call: ``add``, ``update``, ``put`` (update or add), ``remove`` or ``compact``."""

    kind: str
    step: int
    ids: list

    def apply(self, index):
        if self.kind == "compact":
            index.compact()
        elif self.kind == "remove":
            assert index.remove(self.ids) == len(self.ids)
        else:
            codes, values = zip(*(item(one, self.step) for one in self.ids), strict=True)
            attributes = {name: [each[name] for each in values] for name in ATTRIBUTES}
            if self.kind == "add":
                index.add_codes(codes, self.ids, attributes)
            else:
                missing = "add" if self.kind == "put" else "raise"
                index.update_codes(codes, self.ids, attributes, missing=missing)


@dataclass(frozen=True)
class Script:
    """Changes number 1, 2, ...: those of ``plan`` first, then any, for ever."""

    ids: str
    seed: int
    plan: tuple[str, ...] = ()

    def state(self):
        """All of it as plain values; ``of`` is the way back."""
        return asdict(self)

    @classmethod
    def of(cls, state):
        return cls(state["ids"], state["seed"], tuple(state["plan"]))

    def change(self, step, present):
        """Change number ``step`` of an index whose ascending ids are ``present``."""
        chance = Random(f"{self.seed} {step}")
        kind = self.plan[step - 1] if step <= len(self.plan) else _any_kind(chance, len(present))
        match kind:
            case "add":
                ids = self._new(step, chance.choice((1, 2, 5, 30)))
            case "put":
                ids = [*chance.sample(present, min(10, len(present))), *self._new(step, 10)]
            case "update" | "remove":
                ids = chance.sample(present, min(chance.randint(1, 20), len(present) - 1))
            case "remove half":
                ids = chance.sample(present, len(present) // 2)
            case "compact":
                ids = []
        return Change(kind.split()[0], step, ids)

    def _new(self, step, count):
        numbers = range(1000 * step, 1000 * step + count)
        return (
            list(numbers) if self.ids == "int" else [f"{number:x}" + "é" * (number % 3) for number in numbers]
        )


def _any_kind(chance, n_items):
    if n_items < 50:
        return "add"
    if n_items > MOST_ITEMS:
        return "remove half"
    kinds = ("add", "update", "put", "remove", "remove half", "compact")
    return chance.choices(kinds, (55, 15, 8, 14, 4, 4))[0]


def item(one, step):
    """The code and the attributes of the item with the id ``one`` as change number ``step`` wrote it."""
    mix = zlib.crc32(f"{one}/{step}".encode())
    code = tuple(mix >> 4 * m & 15 for m in range(CODEBOOKS.n_codebooks))
    tags = None if mix % 7 == 0 else [tag for bit, tag in enumerate("abc") if mix >> 16 & 1 << bit]
    weight = None if mix % 5 == 0 else mix % 1000 / 8
    return code, {
        "colour": COLOURS[(mix >> 20) % 4],
        "size": mix % 60 - 10,
        "weight": weight,
        "tags": tags,
    }


class Model:
    """What an index holds after change number ``step``: ``written``, its ids and the change that wrote each."""

    def __init__(self, script, step=0, written=()):
        self.script = script
        self.step = step
        self.written = dict(written)

    def state(self):
        """All of it as plain values; ``of`` is the way back."""
        return {"script": self.script.state(), "step": self.step, "written": list(self.written.items())}

    @classmethod
    def of(cls, state):
        return cls(Script.of(state["script"]), state["step"], state["written"])

    def copy(self):
        return Model(self.script, self.step, self.written)

    @property
    def ids(self):
        return sorted(self.written)

    def next(self):
        """The change that comes next."""
        return self.script.change(self.step + 1, self.ids)

    def advance(self, step=None):
        """Make changes up to number ``step``, or one; returns itself."""
        last = self.step + 1 if step is None else step
        while self.step < last:
            change = self.next()
            self.step += 1
            if change.kind == "remove":
                for one in change.ids:
                    del self.written[one]
            else:
                self.written |= dict.fromkeys(change.ids, self.step)
        return self

    def items(self):
        """Code and attributes by id."""
        return {one: item(one, step) for one, step in self.written.items()}


def content(index):
    """What ``Model.items`` should be, read from an index."""
    ids = index.ids
    codes = map(tuple, index.codes.tolist())
    return dict(zip(ids.tolist(), zip(codes, index.attributes_of(ids), strict=True), strict=True))


def nearest(items, k, where=False):
    """Distances (nq, k') float32 and lists of ids of the k items nearest to QUERIES, by (distance, id).

    ``where``: only of the items for which WHERE holds.
    """
    ids = sorted(one for one, (_, values) in items.items() if not where or _chosen(values))
    codes = np.array([items[one][0] for one in ids], np.int64).reshape(-1, CODEBOOKS.n_codebooks)
    vectors = np.concatenate([CODEBOOKS.words[m][codes[:, m]] for m in range(codes.shape[1])], axis=1)
    distances = ((QUERIES[:, np.newaxis] - vectors) ** 2).sum(axis=2, dtype=np.float32)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), [[ids[place] for place in row] for row in order]


def _chosen(values):
    red = values["colour"] == "red" and values["size"] >= 30
    return red or "b" in (values["tags"] or ())


def assert_answers(index, items, k=7):
    """The index has as many items, and searches and a filtered search find what ``nearest`` does."""
    assert len(index) == len(items)
    for where in (None, WHERE):
        distances, ids = index.search(QUERIES, k, filter=where, threads=1)
        expected, nearest_ids = nearest(items, k, where is not None)
        np.testing.assert_array_equal(distances, expected)
        assert ids.tolist() == nearest_ids


def assert_holds(index, items):
    """The index holds exactly these items, answers accordingly and finds itself in order."""
    held = content(index)
    lost, strange = sorted(items.keys() - held.keys()), sorted(held.keys() - items.keys())
    changed = sorted(one for one in items.keys() & held.keys() if items[one] != held[one])
    assert (lost, strange, changed) == ([], [], []), f"lost {lost}, strange {strange}, changed {changed}"
    assert_answers(index, items)
    index.verify()
