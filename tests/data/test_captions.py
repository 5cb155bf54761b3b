from __future__ import annotations

import numpy as np

from spdq.data import Dataset
from spdq.data.captions import MAX_CAPTION, captions


def test_the_first_line_is_the_caption():
    texts = ("a cat\nchat", " \n\n dog ", "", "\n", "x" * 201)
    dataset = Dataset("made", np.arange(5), image_features=np.zeros((5, 2), np.float32), texts=texts)
    assert captions(dataset) == {0: "a cat", 1: "dog", 4: "x" * (MAX_CAPTION - 1) + "…"}


def test_without_texts_there_is_none():
    assert captions(Dataset("made", np.arange(2), image_features=np.zeros((2, 2), np.float32))) == {}
