from __future__ import annotations

import numpy as np
import pytest

from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import SpdqError
from spdq_benchmarks import sharded_figures as figures
from spdq_benchmarks.index_figures import line


def test_every_figure_is_measured_and_a_wrong_answer_gives_none(tmp_path, monkeypatch):
    """One Ray for both."""
    from spdq.distributed.cluster import ray_session

    said = []
    with ray_session(n_cpus=2):
        found = figures.sharded_figures(20_000, 3, 2, 0, said.append, tmp_path)
        search = ShardedIndex.search

        def wrong(index, queries, k=10, *more, **options):
            distances, ids = search(index, queries, k, *more, **options)
            return distances, ids + 1

        monkeypatch.setattr(ShardedIndex, "search", wrong)
        with pytest.raises(SpdqError, match="the shards did not find what the index finds"):
            figures.sharded_figures(20_000, 3, 2, 0, lambda _: None, tmp_path)
    assert said == [line(one) for one in found]
    assert len({one.name for one in found}) == len(found)
    assert all(np.isfinite(one.value) for one in found)
    assert [one.must for one in found if one.must is not None] == [5, 5]
    assert list(tmp_path.iterdir()) == []
