"""The commands, targets and links of the pages exist. CI also runs README.md, by tests/documents.py; what stands in
docs/ is run by tests/test_docs_run.py."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from itertools import takewhile

import built_site
import click
import pytest
from documents import RUN, blocks, script
from sources import ROOT, sources

import spdq
from spdq_cli.main import cli

SITE = tuple(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", *SITE)
LANGUAGES = {*RUN, "text", "json", "{include}", "{toctree}"}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Every command that does something, by what is typed: ``dataset import``."""
    found = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
        else:
            found[" ".join((*path, name))] = command
    return found


COMMANDS = commands(cli)


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def spdq_lines(page: str) -> list[list[str]]:
    """The words of each ``spdq ...`` line of a page's code, up to a pipe, redirection or comment."""
    code = [block.text for block in blocks(ROOT / page) if block.language == "bash"]
    code += re.findall(r"^    spdq .*\n", text(page), re.MULTILINE)
    lines = "".join(code).replace("\\\n", " ").splitlines()
    typed = [shlex.split(line, comments=True) for line in lines if re.match(r"\s*\S*\bspdq\s", line)]
    return [list(takewhile(lambda word: word not in {"|", ">"}, words[1:])) for words in typed]


def fault(words: list[str]) -> str | None:
    """What is wrong with a line, None where its command and options exist."""
    if words[:1] in (["--help"], ["--version"]):
        return None
    name = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in COMMANDS), None)
    if name is None:
        return f"no command spdq {' '.join(words[:2])}"
    known = {
        "--help",
        *(option for param in COMMANDS[name].params for option in (*param.opts, *param.secondary_opts)),
    }
    typed = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return f"spdq {name} has no option {', '.join(sorted(typed - known))}" if typed - known else None


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_their_language(page):
    assert {block.language.partition(" ")[0] for block in blocks(ROOT / page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_compile(page):
    for block in blocks(ROOT / page):
        if block.language == "python":
            compile(block.text, f"{page} line {block.line}", "exec")


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page):
    faults = [f"{page}: {found}" for words in spdq_lines(page) if (found := fault(words))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):.*## ", text("Makefile"), re.MULTILINE))
    assert {"help", "demo", "test", "lint", "types", "check", "wheel", "clean"} <= targets
    code = [block.text for block in blocks(ROOT / page)] + re.findall(r"`(make [^`]+)`", text(page))
    typed = set(re.findall(r"^\s*make ([a-z]+)", "\n".join(code), re.MULTILINE))
    assert typed <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", text(page)) + re.findall(r'(?:src|href)="([^"#]+)"', text(page))
    lost = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert not lost


def test_the_readme_runs_the_two_commands():
    run = script(ROOT / "README.md")
    assert "\nmake demo\n" in run
    assert subprocess.run(["bash", "-n"], input=run, text=True, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_has_help(name):
    shown = any(re.search(rf"\bspdq {name}\b", text(page)) for page in ("README.md", "data/README.md"))
    assert shown, f"neither README.md nor data/README.md shows spdq {name}"
    command = COMMANDS[name]
    assert command.help
    silent = [param.name for param in command.params if isinstance(param, click.Option) and not param.help]
    assert not silent


def test_every_importer_is_in_the_reference():
    used = {
        f"{node.module}.{alias.name}"
        for source in sources()
        for node in ast.walk(source.tree)
        if source.package == "spdq_cli" and isinstance(node, ast.ImportFrom)
        for alias in node.names
        if re.match(r"(load|read)_", alias.name) and (node.module or "").startswith("spdq.data.")
    }
    listed = set(re.findall(r"autofunction:: (\S+)", text("docs/reference/spdq_data.rst")))
    assert used <= listed


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", text("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == spdq.__version__


def test_a_page_s_blocks_and_script(tmp_path):
    page = tmp_path / "PAGE.md"
    page.write_text(
        "# A\n\n```bash\necho one\n```\n<!-- not run: takes an hour -->\n\n```bash\nexit 9\n```\ntext\n"
        "```text\nexit 8\n```\n```python\nx = 'two'\nprint(x)\n```\n"
    )
    assert [(block.language, block.line, block.not_run) for block in blocks(page)] == [
        ("bash", 3, None),
        ("bash", 8, "takes an hour"),
        ("text", 12, None),
        ("python", 15, None),
    ]
    run = subprocess.run(["bash"], input=script(page), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "== PAGE.md line 3\none\n== PAGE.md line 15\ntwo\n")
    page.write_text("```bash\nfalse\necho more\n```\n")
    run = subprocess.run(["bash"], input=script(page), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "== PAGE.md line 1\n")
    page.write_text("```bash\nls\n")
    with pytest.raises(ValueError, match="line 1: a code block is not closed"):
        blocks(page)


@pytest.mark.parametrize(("words", "found"), [
    ("--help", None), ("demo --out x", None), ("dataset", "no command spdq dataset"),
    ("dance --out x", "no command spdq dance --out"), ("demo --in x", "spdq demo has no option --in"),
])  # fmt: skip
def test_faults_are_seen(words, found):
    assert fault(words.split()) == found


def test_what_a_site_loads_from_elsewhere_is_seen(tmp_path):
    (tmp_path / "a.css").write_text("@import 'b.css'; p { background: url(https://x.org/font.woff2) }")
    (tmp_path / "b.css").write_text("p { background: url('data:image/png;base64,x') }")
    (tmp_path / "page.html").write_text(
        '<link rel="stylesheet" href="a.css?v=1"><a href="https://x.org">a link</a>'
        '<img src="no.png" src="//x.org/p.png">'
        "<style>@import url(//x.org/c.css);</style><script src='https://x.org/s.js'></script><p>url(http://x.org)</p>"
    )
    assert built_site.faults(tmp_path) == [
        "a.css loads https://x.org/font.woff2",
        "page.html loads no.png",
        "page.html loads //x.org/p.png",
        "page.html loads //x.org/c.css",
        "page.html loads https://x.org/s.js",
    ]
