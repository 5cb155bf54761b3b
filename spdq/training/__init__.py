"""The loops that train a system, with checkpoints, resumption and a JSONL log."""
