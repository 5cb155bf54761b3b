"""What a service asks of a model, which may be in another process."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from spdq import load_model
from spdq.engine import embed_query
from spdq.errors import DataError, UnknownWordsError
from spdq.serving.embedder import Embedded, ModelEmbedder, RawQuery
from spdq.serving.embedding import embed_searches
from spdq.serving.schemas import Part, Search


class Counted(ModelEmbedder):
    """What it was asked, in pickles: as if by another process."""

    def __init__(self, model):
        super().__init__(model)
        self.asked = []

    def embed(self, queries):
        self.asked.append(len(queries))
        return pickle.loads(pickle.dumps(super().embed(pickle.loads(pickle.dumps(queries)))))


def test_each_query_is_answered_for_itself(model, png):
    embedder = ModelEmbedder(model)
    assert embedder.modalities == ("text", "image")
    asked = [
        RawQuery("text", "red unheard"), RawQuery("text", "unheard"), RawQuery("image", png(3), 0.5),
        RawQuery("image", b"no picture"), RawQuery("text", np.ones((1, model.codebooks.dim), np.float32), 0.5),
    ]  # fmt: skip
    text, none, image, broken, vector = embedder.embed(asked)
    assert text.unknown == ["unheard"]
    np.testing.assert_array_equal(text.vector, embed_query(model, "text", "red unheard")[0])
    np.testing.assert_array_equal(image.vector, embed_query(model, "image", png(3), 0.5)[0])
    np.testing.assert_array_equal(vector.vector, model.weigh_query(asked[4].content, "text", 0.5))
    assert isinstance(none, UnknownWordsError)
    assert type(broken) is DataError


def test_a_model_without_extractors_embeds_neither(made):
    deaf = load_model(made.model)
    deaf.text_extractor = deaf.image_settings = None
    assert ModelEmbedder(deaf).modalities == ()


def test_searches_are_embedded_by_one_call(made, model, serving):
    """A mixture that ends early takes no vector of the next search; what is a vector already asks for nothing."""
    with serving() as client:
        index = client.service.index
        embedder = Counted(model)
        mix = [Part(text="unheard"), Part(item=100, weight=0.5), Part(text="small")]
        searches = [
            Search(text="red"), Search(mix=mix), Search(text="blue"), Search(vector=[1.0] * index.dim),
        ]  # fmt: skip
        red, unknown, blue, ones = embed_searches(embedder, index, searches, None)
        assert embedder.asked == [6]
        np.testing.assert_array_equal(red.vectors, embed_query(model, "text", "red")[0])
        np.testing.assert_array_equal(blue.vectors, embed_query(model, "text", "blue")[0])
        assert (type(unknown), unknown.words) == (UnknownWordsError, ["unheard"])
        embed_searches(embedder, index, searches[3:], None)
        assert embedder.asked == [6]
        assert ones.vectors.tolist() == [[1.0] * index.dim]
        both = [model.weigh_query(index.reconstruct([100]), modality) for modality in ("image", "text")]
        alike = embed_searches(embedder, index, [Search(item=100)], None)[0]
        np.testing.assert_array_equal(alike.vectors, (both[0] + both[1]) / 2)


@pytest.mark.parametrize("error", [UnknownWordsError("no word known", ["a"]), DataError("bad")])
def test_errors_come_back_from_another_process(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
    assert not isinstance(back, Embedded)
