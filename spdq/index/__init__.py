"""The index: codes and ids in immutable segments, searched exactly, in memory or on disk."""

from __future__ import annotations

from spdq.index.index import Index

__all__ = ["Index"]
