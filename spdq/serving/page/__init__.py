"""The search page: one document without anything from elsewhere, put together from its parts in this folder."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Page(NamedTuple):
    """What is sent."""

    content: bytes
    policy: str
    """The Content-Security-Policy under which it works: its own style and script, and this server."""


@cache
def page() -> Page:
    """The page, its style and script in place."""
    folder = files(__name__)
    text = (folder / "page.html").read_text("utf-8")
    sources = []
    for kind, name in (("style-src", "page.css"), ("script-src", "page.js")):
        part = (folder / name).read_text("utf-8")
        text = text.replace(f"/* {name} */", part)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        sources.append(f"{kind} 'sha256-{digest}'")
    policy = [
        "default-src 'none'",
        *sources,
        "connect-src 'self'",
        "img-src 'self' blob: data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return Page(text.encode(), "; ".join(policy))
