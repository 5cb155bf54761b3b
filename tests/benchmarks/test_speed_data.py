"""Made vectors: the same for a seed, whatever the size; their words and bits."""

from __future__ import annotations

import numpy as np
import pytest

from spdq_benchmarks.speed import data
from spdq_benchmarks.speed.data import DIM, Clusters, CodeKind, fit_words
from spdq_kernels import encode_product


def gather(clusters, n_rows):
    parts = list(clusters.chunks(n_rows))
    assert [part[0].start for part in parts[1:]] == [part[0].stop for part in parts[:-1]]
    assert parts[-1][0].stop == n_rows
    return np.concatenate([vectors for _, vectors in parts])


def test_a_small_collection_is_the_beginning_of_a_large_one(monkeypatch):
    monkeypatch.setattr(data, "CHUNK_ROWS", 100)
    large = gather(Clusters(3), 350)
    assert large.shape == (350, DIM)
    assert large.dtype == np.float32
    for n_rows in (1, 100, 101, 200):
        assert np.array_equal(gather(Clusters(3), n_rows), large[:n_rows])


def test_seeds_queries_training_and_rows_are_draws_of_their_own():
    one, other = Clusters(0), Clusters(1)
    draws = [one.queries(50), one.training()[:50], gather(one, 50), other.queries(50)]
    assert len(np.unique(np.concatenate(draws), axis=0)) == 200
    assert np.array_equal(one.queries(50), Clusters(0).queries(50))


def test_vectors_lie_in_clusters():
    """A vector is nearer to its centre than centres are to each other."""
    clusters = Clusters(0)
    vectors = gather(clusters, 500)
    centres = clusters._centres
    nearest = ((vectors[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
    assert np.median(nearest) < 0.5 * 2 * centres.var() * DIM


@pytest.mark.parametrize("kind", [CodeKind(8, 8), CodeKind(16, 4), CodeKind(2, 8)])
def test_words_stand_for_vectors_better_than_rows_do(kind, monkeypatch):
    vectors = Clusters(0).training()[:2000]
    words = fit_words(vectors, kind, seed=0)
    assert words.shape == (kind.n_codebooks, 1 << kind.bits, DIM // kind.n_codebooks)
    assert words.dtype == np.float32
    assert np.array_equal(words, fit_words(vectors, kind, seed=0))
    monkeypatch.setattr(data, "TRAINING_ROUNDS", 0)
    rows = fit_words(vectors, kind, seed=0)
    assert error(vectors, words) < 0.95 * error(vectors, rows)


def error(vectors, words):
    codes = encode_product(vectors, words)
    decoded = np.concatenate([words[m, codes[:, m]] for m in range(len(words))], axis=1)
    return ((vectors - decoded) ** 2).sum()


def test_a_word_nothing_is_near_to_stays_where_it_was():
    vectors = np.zeros((300, DIM), np.float32)
    words = fit_words(vectors, CodeKind(8, 8), seed=0)
    assert np.array_equal(words, np.zeros((8, 256, 8), np.float32))


def test_bits_are_signs_after_a_turn():
    clusters = Clusters(0)
    vectors = clusters.queries(40)
    bits = clusters.bits(vectors)
    assert (bits.shape, bits.dtype) == ((40, 8), np.uint8)
    assert np.array_equal(clusters.bits(-vectors), ~bits)
    assert np.allclose(clusters._turn @ clusters._turn.T, np.eye(DIM), atol=1e-5)


@pytest.mark.parametrize("kind", [CodeKind(8, 8), CodeKind(16, 4)])
def test_kinds_have_names(kind):
    assert CodeKind.named(kind.name) == kind
    assert CodeKind(16, 4).name == "16x4"
