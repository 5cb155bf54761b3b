from __future__ import annotations

import numpy as np
import pytest

from spdq.errors import DataError, UsageError
from spdq.quantizers import ProductQuantizer
from spdq.quantizers.product import balanced_rotation


def correlated(seed, n, dim=16):
    """Vectors whose variance sits in a few directions, none of them along an axis."""
    mixing = np.random.default_rng(50).standard_normal((dim, dim)) * 0.7 ** np.arange(dim)[:, None]
    return (np.random.default_rng(seed).standard_normal((n, dim)) @ mixing).astype(np.float32)


@pytest.mark.parametrize("bits", [16, 32, 64, 128])
def test_code_lengths(bits):
    vectors = correlated(0, 400)
    quantizer = ProductQuantizer(n_codebooks=bits // 8, random_state=0).fit(vectors)
    assert quantizer.codebooks_.bits == bits
    assert quantizer.codebooks_.words.shape == (bits // 8, 256, 16 * 8 // bits)
    assert quantizer.encode(vectors).shape == (400, bits // 8)


def test_parts_are_clustered_by_themselves():
    vectors = correlated(1, 300)
    words = ProductQuantizer(n_codebooks=4, n_words=8, random_state=0).fit(vectors).codebooks_.words
    codes = ProductQuantizer(n_codebooks=4, n_words=8, random_state=0).fit(vectors).encode(vectors)
    for m in range(4):
        part = vectors[:, 4 * m : 4 * m + 4]
        for word in range(8):
            np.testing.assert_allclose(words[m, word], part[codes[:, m] == word].mean(axis=0), atol=0.35)


def test_opq_is_not_worse_than_pq():
    train, held_out = correlated(2, 2000), correlated(3, 500)
    plain, turned = (
        ProductQuantizer(n_codebooks=4, n_words=64, rotation=rotation, random_state=0).fit(train)
        for rotation in ("none", "opq")
    )
    assert turned.score(train) > 1.1 * plain.score(train)
    assert turned.score(held_out) > 1.1 * plain.score(held_out)


def test_turns_of_opq_help():
    train = correlated(4, 1500)
    scores = [
        ProductQuantizer(n_codebooks=4, n_words=16, rotation="opq", n_rotations=n, random_state=0)
        .fit(train)
        .score(train)
        for n in (0, 12)
    ]
    assert scores[1] > scores[0]


def test_the_rotation_is_balanced():
    vectors = correlated(5, 1000, 8)
    rotation = balanced_rotation(vectors, np.ones(1000), 2)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(8), atol=1e-5)
    covariance = np.cov((vectors @ rotation).T)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-3 * variances.max())
    largest = np.argsort(-variances)
    logarithms = np.log(variances)
    unbalanced = logarithms[largest[:4]].sum() - logarithms[largest[4:]].sum()
    assert abs(logarithms[:4].sum() - logarithms[4:].sum()) < unbalanced / 4
    assert {int(largest[0]) // 4, int(largest[1]) // 4} == {0, 1}


def test_dimensions_that_cannot_be_cut():
    message = r"30 dimensions cannot be cut into n_codebooks=8 equal parts: .* \[1, 2, 3, 5, 6, 10, 15, 30\]"
    with pytest.raises(DataError, match=message):
        ProductQuantizer(n_codebooks=8).fit(np.ones((5, 30)))


def test_an_unknown_rotation():
    with pytest.raises(UsageError, match='rotation must be "none" or "opq", not \'pca\''):
        ProductQuantizer(n_codebooks=1, rotation="pca").fit(np.ones((5, 4)))


@pytest.mark.parametrize("n_rotations", [-1, 1.5])
def test_a_bad_number_of_turns(n_rotations):
    with pytest.raises(UsageError, match="n_rotations must be a whole number"):
        ProductQuantizer(n_codebooks=1, rotation="opq", n_rotations=n_rotations).fit(np.ones((5, 4)))
