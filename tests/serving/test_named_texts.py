"""A served model whose texts are read by an extractor with a name."""

from __future__ import annotations

import sys
from dataclasses import replace

import made_plugins
from made_models import SHORT, worded

from spdq import Index
from spdq.features import text_extractor
from spdq.serving import Service
from spdq.serving.schemas import NewItem, Search
from spdq.training.recipes import RECIPES
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask


def test_texts_are_searched_and_added(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(made_plugins.install_lengths(tmp_path / "site"))
    dataset = worded().with_text_features(text_extractor("letters:36"))
    model = train_task(SPDQTask, dataset, 16, replace(RECIPES["default"], **SHORT))
    index = Index.create(tmp_path / "index", model.codebooks, "ip", model_fingerprint=model.fingerprint)
    index.add(model.embed_unit(dataset.image_features, dataset.text_features), dataset.ids)
    service = Service(index, model)
    service.warm_up()
    answer = service.search(Search(text="large blue zyzzyva", k=5), None)
    assert answer["unknown_words"] == []
    vectors = model.embed_text(text_extractor("letters:36").extract(["large blue zyzzyva"]))
    expected = index.search(model.weigh_query(vectors, "text"), k=5)[1][0]
    assert [hit["id"] for hit in answer["hits"]] == expected.tolist()
    assert service.add([NewItem(id=9999, text="large blue")], False, None)["items"] == 1
    assert 9999 in index
    sys.modules.pop("my_lengths", None)
