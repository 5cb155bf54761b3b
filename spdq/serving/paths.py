"""Ids in paths: percent-encoded, with slashes of their own, and told from the paths of their pictures."""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.types import Scope

from spdq.index.ids import accept_ids
from spdq.serving.problems import Problem


class ItemConvertor(PathConvertor):
    """An id in a path: all that is no path of a picture."""

    regex = "(?!.*/image$).*"


register_url_convertor("item", ItemConvertor())


def as_sent(scope: Scope) -> Scope:
    """The request with its path still percent-encoded: ``a%2Fimage`` is an item, ``a/image`` the picture of ``a``."""
    raw = scope.get("raw_path")
    return {**scope, "path": quote(scope["path"]) if raw is None else raw.decode("latin-1")}


def item_key(encoded: str, kind: str) -> int | str:
    """The id in a path, as an index of that kind of ids has it. Raises Problem 404 where it can be none."""
    # Bytes that are no UTF-8 become half surrogates, which no id has.
    text = unquote(encoded, errors="surrogateescape")
    missing = Problem(404, f"no item {text[:100]!r}")
    if kind == "str":
        if not 0 < len(text.encode("utf-8", "surrogatepass")) <= 1024:
            raise missing
        try:
            return str(accept_ids([text], 1, kind)[0])
        except ValueError:
            raise missing from None
    try:
        if len(text) > 20 or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
            raise missing
        return int(accept_ids([int(text)], 1, kind)[0])
    except ValueError:
        raise missing from None
