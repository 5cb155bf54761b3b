"""How Sphinx builds the documentation site: ``make docs``."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import click
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / room) for room in ("", "kernels", "cli", "benchmarks")]

import spdq  # noqa: E402
from spdq_cli.main import cli  # noqa: E402

project = "SPDQ"
release = spdq.__version__
project_copyright = "the authors of SPDQ"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes = False  # They make one dash of the two of an option.

html_theme = "furo"
html_title = f"SPDQ {release}"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_attr_annotations = False
python_maximum_signature_line_length = 88
# What is written in docstrings must lead somewhere; types in signatures are mostly those of other packages.
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]

# What lies outside this folder, and the page that shows it.
ELSEWHERE = {
    "../benchmarks/notes.md": "tried_spdq.md",
    "../benchmarks/notes_systems.md": "tried_systems.md",
    "../benchmarks/results/README.md": "results.md",
    "../benchmarks/results/systems/csm.md": "results_csm.md",
    "../benchmarks/results/systems/gated.md": "results_gated.md",
    "../benchmarks/results/systems/mixer.md": "results_mixer.md",
    "../benchmarks/results/systems/scale.md": "results_scale.md",
    "../data/README.md": "data_sets.md",
}


def lead_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links of the repository become links of the site."""
    for path, page in ELSEWHERE.items():
        source[0] = source[0].replace(f"]({path})", f"]({page})")


def as_written(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Signatures with the types as the code has them: resolved, ``ArrayLike`` fills four lines."""
    if arguments is None:
        return None
    signature = inspect.signature(obj)
    parameters = [value for key, value in signature.parameters.items() if key not in ("self", "cls")]
    kept = signature.replace(parameters=parameters)
    result = signature.return_annotation
    return (
        stringify_signature(kept, show_return_annotation=False, unqualified_typehints=True),
        result if isinstance(result, str) and what != "class" else None,
    )


def describe(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """In our docstrings ``name : text`` describes; the type is in the signature."""
    parts = [(line, re.fullmatch(r"(\w[\w, ]*) : (.+)", line)) for line in lines]
    lines[:] = [
        part for line, found in parts for part in ((found[1], f"    {found[2]}") if found else (line,))
    ]
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")  # Napoleon takes what stands before a colon in a first line for a type.


class HelpTexts(SphinxDirective):
    """What ``--help`` prints of every command, a section each."""

    def run(self) -> list[nodes.Node]:
        return self._sections(
            cli, click.Context(cli, info_name="spdq", terminal_width=100, **cli.context_settings)
        )

    def _sections(self, command: click.Command, context: click.Context) -> list[nodes.Node]:
        text = command.get_help(context)
        title = nodes.title(text=context.command_path)
        section = nodes.section("", title, nodes.literal_block(text, text, language="text"))
        section["names"] = [nodes.fully_normalize_name(context.command_path)]
        self.state.document.note_implicit_target(section, section)
        sections: list[nodes.Node] = [section]
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                if inner is not None:
                    sections += self._sections(inner, click.Context(inner, context, info_name=name))
        return sections


def visit_math(translator: Any, node: nodes.math | nodes.math_block) -> None:
    block = isinstance(node, nodes.math_block)
    translator.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_directive("help-texts", HelpTexts)
    # Browsers show MathML themselves: no script of another site is needed.
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("source-read", lead_to_pages)
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", describe, priority=400)  # before napoleon
