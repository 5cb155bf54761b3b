import base64
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spdq.errors import NotFoundError, StorageError
from spdq_benchmarks.findings import Answer, Found
from spdq_benchmarks.report import render, write_report

VOID = {"meta", "img", "br"}
HOSTILE = '<script>alert("1")</script>&<b>'


class Page(HTMLParser):
    """All there is to know of a page; raises where tags do not close in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.values, self.open, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag == "data":
            self.values.append(float(dict(attrs)["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.text += data

    def all(self, tag, name):
        return [value for found, key, value in self.attributes if (found, key) == (tag, name)]


@pytest.fixture(scope="module")
def findings(first_run):
    return first_run.findings


@pytest.fixture(scope="module")
def page(findings):
    return Page(render(findings))


def test_the_page_needs_nothing_else(page, findings):
    assert not {"script", "link", "iframe", "a"} & set(page.tags)
    loaded = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "data")]
    assert loaded
    assert all(value.startswith("data:image/png;base64,") for value in loaded)
    assert "url(" not in render(findings)
    assert "@import" not in render(findings)


def test_pictures_are_inside_and_have_words(page, findings):
    answers = findings.texts + findings.images
    expected = [
        path
        for answer in answers
        for path in ([answer.picture] if answer.picture else []) + [hit.picture for hit in answer.hits]
    ]
    inside = [base64.b64decode(value.partition(",")[2]) for value in page.all("img", "src")]
    assert inside == [path.read_bytes() for path in expected]
    assert len(page.all("img", "alt")) == len(expected)
    assert all(page.all("img", "alt"))


def test_every_figure_equals_json(page, findings):
    told = findings.to_json()
    figures = [figure["value"] for figure in told["figures"]]
    distances = [hit["distance"] for part in ("texts", "images") for a in told[part] for hit in a["hits"]]
    sizes, seconds = told["sizes"], told["seconds"]
    items = sizes["items"]
    headline = [told["figures"][i]["value"] for i in (2, 0, -1, -3)]
    headline += [sum(seconds.values())]
    table = []
    for total in (sizes["code_bytes"] * items, sizes["vector_bytes"] * items, sizes["pictures_bytes"]):
        table += [total / items, total]
    table += [sizes["codebooks_bytes"], sizes["index_bytes"], *seconds.values()]
    assert page.values == [*headline, *distances, *figures, *table]


def test_every_table_names_its_protocol_split_and_columns(page, findings):
    tables = page.text[page.text.index("How good is it?") :]
    for protocol, split in dict.fromkeys((row.protocol, row.split) for row in findings.rows):
        assert protocol in tables
        assert f"split: {split}; 20 queries" in tables
    assert page.tags.count("caption") == page.tags.count("table") == 4
    assert set(page.all("th", "scope")) == {"col", "row"}
    for column in ("chance", "float vectors", "16-bit codes"):
        assert tables.count(column) >= 2


def test_answers_show_names_and_mark_what_was_held_out(page, findings):
    for answer in findings.texts + findings.images:
        assert answer.query in page.text
        assert all(hit.name in page.text for hit in answer.hits)
        assert answer.problem in page.text
    n_new = sum(hit.held_out for answer in findings.texts + findings.images for hit in answer.hits)
    assert n_new > 0
    assert page.all("span", "title") == ["never trained on"] * n_new


def test_hostile_names_are_text(findings, page):
    hits = tuple(replace(hit, name=HOSTILE) for hit in findings.texts[0].hits)
    hostile = Answer(HOSTILE, HOSTILE, hits, problem=HOSTILE)
    log = ({"step": 1, "loss": 1.0, HOSTILE: 1.0},)
    changed = replace(
        findings, out=Path(HOSTILE), version=HOSTILE, texts=(hostile, replace(hostile, hits=())), log=log
    )
    shown = Page(render(changed))
    assert set(shown.tags) <= set(page.tags)
    assert shown.text.count(HOSTILE) >= 2 * 3 + len(hits) + 2
    assert HOSTILE in shown.all("img", "alt")
    assert HOSTILE in shown.all("div", "title")


def test_same_findings_give_the_same_page(findings, tmp_path):
    write_report(findings, tmp_path / "a.html")
    write_report(findings, tmp_path / "b.html")
    assert (
        (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes() == render(findings).encode()
    )


def test_training_curves_show_the_log(page, findings):
    log = findings.log
    charts = page.all("svg", "aria-label")
    assert charts[0].startswith(f"Training loss and its terms: loss goes from {log[0]['loss']:.4g} to ")
    assert f"classification goes from {log[0]['classification']:.4g}" in charts[0]
    assert page.tags.count("circle") == page.tags.count("title") - 1 > len(log)
    assert f"{log[-1]['step']:,} steps on 80 emoji" in page.text


def test_a_model_without_a_log_has_no_curve(findings):
    page = Page(render(replace(findings, log=())))
    assert "svg" not in page.tags
    assert "The model came without a training log." in page.text


def test_a_log_without_validation_has_one_curve(findings):
    log = tuple({"step": entry["step"], "loss": entry["loss"]} for entry in findings.log)
    page = Page(render(replace(findings, log=log)))
    assert page.tags.count("svg") == 1


def test_an_undefined_figure_is_called_so(findings):
    row = findings.rows[0]
    undefined = replace(row, codes=replace(row.codes, value=math.nan, lowest=math.nan, highest=math.nan))
    page = Page(render(replace(findings, rows=(undefined,))))
    assert "undefined" in page.text
    assert "nan" not in page.text


def test_a_lost_picture(findings, tmp_path):
    lost = Found(1, "x", "x", "", 1.0, False, tmp_path / "lost.png")
    with pytest.raises(NotFoundError, match=r"lost\.png: cannot be read \(No such file"):
        write_report(replace(findings, texts=(Answer("x", "", (lost,)),)), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written(findings, tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*page\.html: Is a directory"):
        write_report(findings, tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
