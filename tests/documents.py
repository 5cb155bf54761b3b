"""The code blocks of a Markdown page. As a program: print a bash script that runs those of a page, in order.

    python tests/documents.py README.md | bash

Every ```bash and ```python block runs unless the line before its fence says ``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

RUN = ("bash", "python")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    not_run: str | None


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    start, before = None, ""
    lines = page.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            before = line if start is None and line.strip() else before
        elif start is None:
            start = number
            reason = NOT_RUN.fullmatch(before.strip())
            language = line[3:].strip()
        else:
            text = "\n".join(lines[start : number - 1]) + "\n"
            found.append(Block(language, text, start, reason[1] if reason else None))
            start, before = None, ""
    if start is not None:
        raise ValueError(f"{page} line {start}: a code block is not closed")
    return found


def script(page: Path) -> str:
    """All blocks that run, in one shell of the current folder; the package is that of its .venv."""
    parts = ["set -euo pipefail", 'export PATH="$PWD/.venv/bin:$PATH"']
    for block in blocks(page):
        if block.language not in RUN or block.not_run:
            continue
        parts.append(f"echo {shlex.quote(f'== {page.name} line {block.line}')}")
        if block.language == "python":
            parts.append(f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK")
        else:
            parts.append(f"set -x\n{block.text}{{ set +x; }} 2>/dev/null")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(script(Path(sys.argv[1])))
