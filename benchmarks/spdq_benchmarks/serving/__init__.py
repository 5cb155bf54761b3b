"""How ``spdq serve`` answers under load, under overload, and what hostile requests cost it."""
