import numpy as np
import numpy.testing as npt
import pytest

from spdq.data.queries import class_query_rows, default_query_rows
from spdq.errors import DataError, UsageError


@pytest.mark.parametrize(("n", "n_query"), [(2, 1), (19, 1), (20, 2), (19_999, 1999), (50_000, 2000)])
def test_default_queries(n, n_query):
    rows = default_query_rows(n, 0, "here")
    assert len(np.unique(rows)) == n_query
    assert rows.max() < n


def test_one_item_has_no_queries():
    for n in (0, 1):
        with pytest.raises(DataError, match="here: one item cannot be split into queries and database"):
            default_query_rows(n, 0, "here")


def test_class_queries():
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 4)) < [0.5, 0.2, 0.05, 0]).astype(np.uint8)
    rows = class_query_rows(labels, 10, 0)
    members = labels[:, :3].sum(axis=0)
    assert len(rows) == np.minimum(10, np.ceil(members / 10)).sum()
    assert (labels[rows][:, :3].sum(axis=0) >= np.minimum(10, np.ceil(members / 10))).all()
    assert (np.diff(rows) > 0).all()
    npt.assert_array_equal(rows, class_query_rows(labels, 10, 0))
    assert not np.array_equal(rows, class_query_rows(labels, 10, 1))
    with pytest.raises(UsageError, match="split seed: expected 0 or more, got -1"):
        class_query_rows(labels, 10, -1)


def test_class_queries_where_classes_share_their_members():
    """Two classes of the same single item: it is drawn once, the second class finds none left."""
    labels = np.array([[1, 1], [0, 0]], np.uint8)
    assert class_query_rows(labels, 100, 0).tolist() == [0]
