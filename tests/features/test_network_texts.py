"""What the extractors of texts of all libraries have alike, with a network that needs none of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from spdq.errors import IncompatibleError, UsageError
from spdq.features import network_texts
from spdq.features.network_texts import TextEncoder, TextNetworkExtractor

TEXTS = ["a b", "a b c d", "b a", "c", "d", "a b c d", "c d"]


class Letters(TextNetworkExtractor):
    """The sum of embeddings of letters, drawn by a seed; a token is a word."""

    library = "letters"

    def _full(self):
        return self._network, self._weights

    def _load(self, spec):
        torch.manual_seed(0)
        network = torch.nn.Embedding(26, 6)
        self.fed = []

        def embed(texts):
            self.fed.append([len(text.split()) for text in texts])
            tokens = [[ord(word) - ord("a") for word in text.split()] for text in texts]
            return network(torch.tensor(tokens)).sum(dim=1)

        return TextEncoder(
            network=network,
            weights=network.state_dict,
            preparation={"letters": 26},
            tokens=lambda text: len(text.split()),
            embed=embed,
        )


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return Letters.from_spec("net", {})


def test_texts_of_as_many_tokens_go_together(letters, monkeypatch):
    monkeypatch.setattr(network_texts, "CPU_BATCH", 2)
    calls = []
    rows = letters.extract(TEXTS, progress=lambda *call: calls.append(call))
    assert (rows.shape, rows.dtype, letters.dim) == ((7, 6), np.float32, 6)
    assert letters.fed[1:] == [[4, 4], [2, 2], [2], [1, 1]]
    assert calls == [(2, 7), (4, 7), (5, 7), (7, 7)]
    for row, text in enumerate(TEXTS):
        np.testing.assert_array_equal(letters.extract([text])[0], rows[row])


def test_a_query_is_not_counted_first(letters):
    expected = letters.extract(TEXTS)[1]
    object.__setattr__(letters._checked, "tokens", None)
    np.testing.assert_array_equal(letters.extract(["a b c d"])[0], expected)


def test_no_texts(letters):
    assert letters.extract([]).shape == (0, 6)
    with pytest.raises(UsageError, match="expected a sequence of texts, got one text"):
        letters.extract("a b")


def test_settings_are_compared(letters):
    stored = letters.settings()
    assert list(stored) == ["name", "weights_sha256", "letters"]
    name = stored.pop("name")
    again = Letters.from_spec(name.partition(":")[2], stored)
    np.testing.assert_array_equal(again.extract(TEXTS), letters.extract(TEXTS))
    for changed, message in [({"letters": 27}, "has letters 26, but 27 is asked for"),
                             ({"weights_sha256": "0"}, "has weights_sha256")]:  # fmt: skip
        with pytest.raises(IncompatibleError, match=message):
            Letters.from_spec("net", stored | changed).extract(TEXTS)
    with pytest.raises(UsageError, match="unknown setting of extractor letters:net: 'more'; known are"):
        Letters.from_spec("net", stored | {"more": 1}).extract(TEXTS)
    with pytest.raises(IncompatibleError, match="weights here have SHA-256"):
        Letters.from_spec("net#" + "0" * 16, {}).extract(TEXTS)


def test_several_threads_at_once(letters):
    """Tokenizers of Hugging Face refuse to be used by two threads."""
    expected = letters.extract(TEXTS)
    inside, most = [], []
    real = letters._checked.embed

    def embed(texts):
        inside.append(1)
        most.append(len(inside))
        rows = real(texts)
        inside.pop()
        return rows

    object.__setattr__(letters._checked, "embed", embed)
    found = []
    threads = [threading.Thread(target=lambda: found.append(letters.extract(TEXTS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    for rows in found:
        np.testing.assert_array_equal(rows, expected)


def test_random_numbers_go_on_as_they_were(letters):
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    letters.settings()
    assert (torch.random.get_rng_state() == state).all()
