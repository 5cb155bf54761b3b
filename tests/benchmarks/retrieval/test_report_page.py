import itertools
import re
from html.parser import HTMLParser

import pytest
from made_records import bare_record, made_records, told_figure, told_records

from spdq_benchmarks.retrieval.contents import contents
from spdq_benchmarks.retrieval.report_page import render
from spdq_benchmarks.retrieval.standing import planes

SETS = {"mirflickr": [""], "emoji": ["group:", "subgroup:"]}
METHODS = {"spdq": 0.62, "spdq-paper": 0.55, "kernel-ridge-aq": 0.63, "seph-km": 0.4, "cca": 0.3}
HOSTILE = '<script>alert("1")</script>&<b>\''
VOID = {"meta", "br"}


class Page(HTMLParser):
    """All there is to know of a page; raises where tags do not close in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.text = [], [], [], ""
        self.tables, self.headings, self.parents = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1][1] += data

    def all(self, tag, name):
        return [value for found, key, value in self.attributes if (found, key) == (tag, name)]


@pytest.fixture(scope="module")
def found():
    return contents(made_records(SETS, METHODS, (16, 64), queries=8), "spdq bench retrieval")


@pytest.fixture(scope="module")
def text(found):
    return render(found)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def shown_sheets(parts):
    for part in parts:
        if part.is_on_page:
            yield from part.sheets
            yield from shown_sheets(part.parts)


def test_the_page_needs_nothing_else(page, text):
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "srcset")]
    assert not re.search(r"https?:|//|url\(|@import", text)


def test_links_lead_to_parts_of_the_page(page):
    links, places = page.all("a", "href"), page.all("h2", "id")
    assert links == [f"#{place}" for place in places]
    assert page.all("section", "aria-labelledby") == places


def test_headings_skip_no_level(page):
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_every_table_on_the_page_is_the_reports(page, found):
    sheets = list(shown_sheets(found.parts))
    assert len(page.tables) == page.tags.count("caption") == len(sheets) > 20
    for table, sheet in zip(page.tables, sheets, strict=True):
        rows = table[2:] if any(group for group, _ in sheet.heads) else table[1:]
        assert [row[0] for row in rows] == [name for name, _ in sheet.rows]
        for row, (_, entries) in zip(rows, sheet.rows, strict=True):
            told = [
                " ".join(filter(None, (e.text, f"({e.spread})" if e.spread else "", e.mark))) for e in entries
            ]
            assert row[1:] == told


def test_grouped_heads_span_their_columns(page, text):
    spans = sum(map(int, page.all("th", "colspan")))
    groups = re.findall(r"<thead><tr><th scope=\"col\" rowspan=\"2\">.*?</thead>", text)
    assert spans == sum(len(re.findall("<th", group.partition("</tr>")[2])) for group in groups)
    assert set(page.all("th", "scope")) == {"col", "row"}


def test_tables_scroll_in_regions_that_keys_reach(page):
    regions = [(tag, value) for tag, name, value in page.attributes if name == "tabindex"]
    assert regions == [("div", "0")] * len(page.tables)
    assert len(page.all("div", "aria-label")) == len(page.tables)


def test_charts_have_words(page):
    assert (
        page.tags.count("figure")
        == page.tags.count("figcaption")
        == page.all("svg", "role").count("img")
        > 20
    )
    assert len(page.all("svg", "aria-label")) == page.tags.count("figure")
    kinds = [("map@all, ", 12), ("precision@N, ", 12), ("pr-curve, ", 12)]
    for start, number in kinds:
        assert sum(label.startswith(start) for label in page.all("svg", "aria-label")) == number


def test_marks_and_ours_are_not_told_by_colour_alone(page):
    marks = {"▼": "significantly below spdq", "▲": "significantly above spdq"}
    assert set(page.all("abbr", "title")) == set(marks.values())
    for mark, words in marks.items():
        told = page.all("abbr", "title").count(words)
        assert sum(cell.endswith(mark) for table in page.tables for row in table for cell in row) == told > 0
    assert "ours" in page.all("tr", "class")


def test_the_headline_counts_columns(page, found):
    near = len(found.single)
    assert re.search(rf"spdq: best or within one sd of it\d+ of {near}columns, each direction", page.text)
    assert re.search(rf"spdq: best of all methods\d+ of {len(found.averaged)}columns, both", page.text)
    on_front = [plane for plane in planes(found.results) if "spdq" in plane.front]
    assert f"spdq: on the front{len(on_front)} of {len(planes(found.results))}planes" in page.text


def test_what_is_only_looked_up_is_left_to_the_markdown(page):
    headings = [heading for _, heading in page.headings]
    assert {"emoji", "mirflickr", "Figures", "Published figures beside ours"} <= set(headings)
    assert not {"Other protocols", "Other directions", "Paired differences at 64 bits"} & set(headings)
    assert "first-hits, seen" not in page.text


def test_what_is_not_comparable_is_folded(page):
    assert page.tags.count("details") == page.tags.count("summary") == page.text.count("Not comparable.") > 3


def test_dark_and_narrow_screens_are_thought_of(text):
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media (max-width: 36rem)" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text


def test_hostile_names_are_text(page):
    records = told_records({HOSTILE: {16: [0.5], 64: [0.6]}, "spdq": {16: [0.4], 64: [0.5]}}, dataset=HOSTILE)
    shown = Page(render(contents(records, HOSTILE)))
    assert set(shown.tags) <= set(page.tags)
    assert shown.text.count(HOSTILE) > 10
    assert any(label.count(HOSTILE) for label in shown.all("svg", "aria-label"))


def test_same_contents_give_the_same_page(found, text):
    assert render(found) == text


def test_a_run_without_our_recipe_has_no_headline():
    shown = Page(render(contents(told_records({"cca": {64: [0.5]}}), "")))
    assert "dt" not in shown.tags
    assert "undefined" not in shown.text


def test_an_undefined_figure_is_called_so():
    record = bare_record("spdq", 64, [told_figure("seen", "", "i2t", "map@all", None)])
    shown = Page(render(contents([record], "")))
    assert "undefined" in shown.text
    assert "nan" not in shown.text
