"""What the pages of a built site load from other addresses. As a program: end with 1 where there is any.

    python tests/built_site.py docs/_build/html

Links that a reader may follow are no matter; scripts, styles, fonts and pictures must lie in the folder.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"src", "srcset", "data", "poster", "background", "action"}
IN_STYLES = re.compile(r"""(?:url\(|@import\s+(?!url))\s*["']?([^"')\s;]+)""")


class Loaded(HTMLParser):
    """Collects in ``addresses`` what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if name == "style":
                self.addresses += IN_STYLES.findall(value or "")
            elif name in LOADING or (tag == "link" and name == "href"):
                self.addresses += [part.split()[0] for part in (value or "").split(",") if part.strip()]

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses += IN_STYLES.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def faults(site: Path) -> list[str]:
    """A line for each address that a page or style sheet loads and that is no file of the site."""
    found = []
    for file in sorted(site.rglob("*")):
        if file.suffix == ".html":
            page = Loaded()
            page.feed(file.read_text("utf-8"))
            addresses = page.addresses
        elif file.suffix == ".css":
            addresses = IN_STYLES.findall(file.read_text("utf-8"))
        else:
            continue
        for address in addresses:
            parts = urlsplit(address)
            if parts.scheme == "data" or not (parts.scheme or parts.netloc or parts.path):
                continue
            if parts.scheme or parts.netloc or not (file.parent / unquote(parts.path)).exists():
                found.append(f"{file.relative_to(site)} loads {address}")
    return found


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    pages = len(list(Path(sys.argv[1]).rglob("*.html")))
    sys.exit(1 if lines or not pages else 0)
