from __future__ import annotations

import json
import math

from spdq.evaluation import CurvePoint, Figure, Spread


def test_text_names_the_protocol_and_the_counts():
    figure = Figure("map@50/skip", 0.42804, 0.37, 0.501, queries=200, skipped=16.25, empty=16)
    expected = (
        "map@50/skip 0.4280 (ties 0.3700 to 0.5010; 200 queries, 16.25 skipped, 16 without a relevant item)"
    )
    assert str(figure) == expected
    assert (
        str(Figure("map@all", 1.0, 1.0, 1.0, 3, 0.0, 0))
        == "map@all 1.0000 (ties 1.0000 to 1.0000; 3 queries)"
    )


def test_undefined():
    figure = Figure("map@5/skip", math.nan, math.nan, math.nan, queries=2, skipped=2.0, empty=2)
    text = "map@5/skip undefined: no query counts (2 queries, 2 skipped, 2 without a relevant item)"
    assert str(figure) == text
    assert figure.to_json()["value"] is None


def test_json():
    point = CurvePoint(3, Spread(0.5, 0.25, 1.0), Spread(0.25, 0.0, 0.5))
    figure = Figure("pr-curve", 0.5, 0.25, 1.0, queries=2, skipped=0.0, empty=1, points=(point,))
    assert json.loads(json.dumps(figure.to_json(), allow_nan=False)) == {
        "protocol": "pr-curve",
        "value": 0.5,
        "lowest": 0.25,
        "highest": 1,
        "queries": 2,
        "skipped": 0,
        "empty": 1,
        "points": [{"rank": 3, "recall": [0.5, 0.25, 1.0], "precision": [0.25, 0.0, 0.5]}],
    }
    assert "points" not in Figure("map@all", 0.5, 0.5, 0.5, 1, 0.0, 0).to_json()
