from __future__ import annotations

import numpy as np
import oracles_models as oracle
import pytest
import torch

from spdq.losses.alignment import alignment_terms


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def rotation(rows, columns):
    return torch.linalg.qr(drawn(columns, columns))[0][:rows]


@pytest.mark.parametrize(("n", "shared", "dim"), [(1, 1, 1), (6, 5, 3), (6, 4, 4)])
def test_equals_the_twin(n, shared, dim):
    s, c, target = drawn(n, shared, seed=1), rotation(dim, shared), drawn(n, dim, seed=2)
    found = alignment_terms(s, c, target)
    assert found.shape == (n,)
    np.testing.assert_allclose(
        found, oracle.alignment(s.tolist(), c.tolist(), target.tolist()), rtol=1e-5, atol=1e-6
    )


def test_by_hand():
    """C takes the second and first coordinate: (1, 2, 3) becomes (2, 1), two steps from (0, 1)."""
    c = torch.tensor([[0.0, 1, 0], [1, 0, 0]])
    assert alignment_terms(torch.tensor([[1.0, 2, 3]]), c, torch.tensor([[0.0, 1]])).tolist() == [4]


def test_at_the_target_it_is_zero_and_flat():
    s, c = drawn(4, 5, seed=1).requires_grad_(), rotation(3, 5)
    terms = alignment_terms(s, c, (s @ c.T).detach())
    terms.sum().backward()
    assert terms.tolist() == [0] * 4
    assert not s.grad.any()


def test_the_gradient_is_equation_15():
    s, c, target = drawn(4, 5, seed=1).requires_grad_(), rotation(3, 5), drawn(4, 3, seed=2)
    alignment_terms(s, c, target).sum().backward()
    expected = [2 * c.T @ (c @ s[n] - target[n]) for n in range(4)]
    torch.testing.assert_close(s.grad, torch.stack(expected))


def test_no_row():
    assert alignment_terms(drawn(0, 5), rotation(3, 5), drawn(0, 3)).shape == (0,)
