from __future__ import annotations

import pytest

from spdq.errors import UsageError
from spdq.evaluation import DEFINITIONS, Protocol, parse_protocol, parse_protocols


@pytest.mark.parametrize(
    ("text", "row", "cut"),
    [
        ("map@50", "map@R", 50),
        ("map@50/skip", "map@R/skip", 50),
        ("map@5000/first-hits", "map@R/first-hits", 5000),
        ("map@all", "map@all", None),
        ("instance-recall@1", "instance-recall@n", 1),
        ("precision@10", "precision@n", 10),
        ("recall@10", "recall@n", 10),
        ("ndcg@10", "ndcg@n", 10),
        ("pr-curve", "pr-curve", None),
    ],
)
def test_every_name_is_read_and_written_back(text, row, cut):
    protocol = parse_protocol(text)
    assert protocol == Protocol(row, cut)
    assert protocol.name == str(protocol) == text
    assert protocol.definition == DEFINITIONS[row]


def test_all_rows_are_read():
    for row in DEFINITIONS:
        assert parse_protocol(row.replace("@R", "@7").replace("@n", "@7")).row == row


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "map",
            "MAP@50",
            "map@0",
            "map@050",
            "map@-1",
            "map@R",
            "map@50/",
            "map@all/skip",
            "map@50/Skip",
        ],
        *[" map@50", "map@50\n", "map@1.5", "map@٥", "map@10000000000", "recall", "ndcg@all", "pr-curve@10"],
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match=r"unknown protocol .*map@R/skip, map@all.*as in map@50"):
        parse_protocol(text)


def test_one_or_several():
    assert parse_protocols("map@all") == parse_protocols([Protocol("map@all")]) == [Protocol("map@all")]
    assert [p.name for p in parse_protocols(("map@all", "recall@3"))] == ["map@all", "recall@3"]
    assert parse_protocols([]) == []
