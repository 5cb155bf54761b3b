"""The model card: README.md of a model directory, with the YAML front matter model hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spdq.models.config import ModelConfig


def model_card(config: ModelConfig, title: str, more: Mapping[str, Any]) -> str:
    """What the model is, what it was trained on and how it is used; ``more`` facts than all systems have."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in {**config.training, **more}.items())
    return f"""---
library_name: spdq
tags: [cross-modal-retrieval, quantization, {config.model_type}]
---

# {title}, recipe "{config.recipe}", {config.bits} bits

Embeds images and texts in one space and turns each into a code of {config.bits // 8} bytes.

| trained on | |
|---|---|
{facts}

```python
from spdq import load_model

model = load_model("this directory")
codes = model.encode_image(image_features)  # (n, {config.bits // 8}) uint8
```

Figures, where it was evaluated: `eval.json`. Training: `training_log.jsonl`.
"""
