"""A small network of texts in a folder, as sentence-transformers writes one, with weights drawn by a seed."""

from __future__ import annotations

import json

import torch

WORDS = [
    "a",
    "the",
    "cat",
    "dog",
    "asleep",
    "on",
    "sofa",
    "runs",
    "red",
    "blue",
    "bird",
    "sings",
    "two",
    "in",
    "tree",
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
WIDTH = 32


def write_folder(folder, seed=0, width=WIDTH, normalise=True, words=VOCABULARY):
    """A BERT of two layers, mean pooling and, if asked for, vectors of length 1 -> the folder."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 2 * width}
    config = BertConfig(
        vocab_size=len(words), hidden_size=width, max_position_embeddings=24, initializer_range=0.3, **sizes
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    BertTokenizer({word: place for place, word in enumerate(words)}).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    kinds = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        *([("2_Normalize", "Normalize")] if normalise else []),
    ]
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder
