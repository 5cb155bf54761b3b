import copy
import re

import pytest
from made_records import bare_record, made_records, told_figure, told_records

from spdq.errors import DataError, StorageError
from spdq_benchmarks.retrieval.cells import Results
from spdq_benchmarks.retrieval.contents import contents
from spdq_benchmarks.retrieval.report import markdown, write_report
from spdq_benchmarks.retrieval.sheets import number

COMMAND = "spdq bench retrieval --out results"
SETS = {"mirflickr": [""], "emoji": ["group:", "subgroup:"]}
METHODS = {"spdq": 0.62, "spdq-paper": 0.55, "kernel-ridge-aq": 0.63, "seph-km": 0.4, "cca": 0.3}
FILES = ["figures.json", "report.html", "report.md"]
HOSTILE = "<script>alert(1)</script>|`*[x]\\\n# y"


@pytest.fixture(scope="module")
def records():
    return made_records(SETS, METHODS, (16, 64, 128), queries=8)


@pytest.fixture(scope="module")
def found(records):
    return contents(records, COMMAND)


@pytest.fixture(scope="module")
def text(found):
    return markdown(found)


def tables(text):
    """Title, sentence, heads and rows of every table."""
    for title, about, table in re.findall(r"^\*\*(.+?)\.\*\* (.*)\n\n((?:\|.*\n)+)", text, re.MULTILINE):
        cells = [line.strip("| ").split(" | ") for line in table.splitlines()]
        yield title, about, cells[0], cells[2:]


def test_three_files_are_written_and_nothing_else(records, tmp_path):
    before = copy.deepcopy(records)
    write_report(records, tmp_path, COMMAND)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert records == before


def test_order_of_records_does_not_matter(records, found, text):
    assert markdown(contents(records[::-1], COMMAND)) == text


def test_parts_come_in_order(text):
    assert re.findall("^## (.*)", text, re.MULTILINE) == [
        "What was run", "Where each method stands", "Labels and the very item at once", "emoji", "mirflickr",
        "Time and size", "Published figures beside ours", "Paired differences at 64 bits",
    ]  # fmt: skip


def test_the_run_is_described(text, records):
    assert f"Command: {COMMAND}" in text
    assert "Machine: cpu made, cores 2." in text
    assert "Seeds 0, 1: spdq, spdq-paper, kernel-ridge-aq." in text
    assert all(record["dataset_digest"][:16] in text for record in records)


def test_every_table_is_a_table(text):
    shapes = {title: {len(row) for row in [heads, *rows]} for title, _, heads, rows in tables(text)}
    assert len(shapes) > 30
    assert all(len(widths) == 1 for widths in shapes.values())


def test_every_figure_stands_in_its_place(found, text):
    """All tables of codes and vectors, read back from the Markdown, against the records."""
    results = found.results
    directions = {"image → text": "i2t", "text → image": "t2i", "text → unit": "t2u"}
    seen = set()
    for title, about, heads, rows in tables(text):
        topics = [
            t
            for t in results.topics
            if about.startswith(f"{t.dataset}; {t.split}") and t.protocol != "pr-curve"
        ]
        for topic in topics:
            if title.split(":")[0] != ", ".join(
                filter(None, (topic.protocol, topic.split, topic.labels and f"labels {topic.labels[:-1]}"))
            ):
                continue
            for method, *cells in rows:
                for head, cell in zip(heads[1:], cells, strict=True):
                    direction, _, bits = (
                        head.rpartition(" ")
                        if head.endswith("vectors")
                        else (head[:-8].strip(), "", head[-8:-5])
                    )
                    length = int(bits) if bits.strip().isdigit() else 0
                    expected = results.cell(topic, directions[direction], method, length)
                    assert cell.strip("*").startswith(number(expected.mean)), (title, method, head)
                    spread = f"({number(expected.deviation)})" in cell
                    assert spread == (len(expected.runs) > 1)
                    seen.add((topic, directions[direction], method, length))
    every = {
        (topic, direction, method, bits)
        for topic in results.topics
        if topic.protocol != "pr-curve"
        for direction in results.directions(topic)
        for method in results.judged(topic)
        for bits in (0, *results.bits)
        if results.cell(topic, direction, method, bits)
    }
    assert seen == every


def test_no_table_has_two_protocols(text):
    protocols = re.compile(r"map@50/first-hits|map@50|map@all|instance-recall@10|instance-recall@1")
    part = text[text.index("## emoji") : text.index("## Time and size")]
    for title, about, *_ in tables(part):
        named = set(protocols.findall(f"{title} {about}"))
        assert len(named) == 1, title


def test_published_figures_never_share_a_column_with_ours(text):
    part = text[text.index("## Published") : text.index("## Paired")]
    heads = [head for _, _, heads, _ in tables(part) for head in heads[1:]]
    assert heads
    assert all(head.startswith(("published: ", "ours: ")) for head in heads)
    assert part.count("Not comparable. items: 208 here, 20,015 there; queries: 8 here, 2,000 there") >= 4


def test_the_best_is_bold_and_marks_are_at_64_bits(text):
    marked = [
        (head, cell)
        for title, _, heads, rows in tables(text[: text.index("## Paired")])
        if title.startswith("map@all, seen")
        for row in rows
        for head, cell in zip(heads, row, strict=True)
    ]
    assert any(cell.startswith("**") for _, cell in marked)
    with_marks = [head for head, cell in marked if cell.endswith(("▲", "▼"))]
    assert with_marks
    assert all(head.endswith("64 bits") for head in with_marks)


def test_where_we_are_behind_is_listed(text):
    (listed,) = (
        rows
        for title, _, _, rows in tables(text)
        if title == "Columns behind by more than one sd, each direction"
    )
    assert f"spdq is below another method by more than one sd in {len(listed)} of 96 columns." in text
    assert all(row[4] == "kernel-ridge-aq" and row[6].startswith("-") for row in listed)


def test_names_are_escaped():
    records = told_records({HOSTILE: {16: [0.5], 64: [0.5]}, "spdq": {64: [0.4]}}, dataset=HOSTILE)
    text = markdown(contents(records, HOSTILE))
    assert "<script>" not in text.replace("\\<", "").replace("\\>", "")
    assert "\\<script\\>alert(1)\\</script\\>\\|\\`\\*\\[x\\]\\\\ # y" in text
    assert all(len(re.split(r"(?<!\\)\|", line)) > 3 for line in text.splitlines() if line.startswith("|"))
    assert not re.search("^# y", text, re.MULTILINE)


@pytest.mark.parametrize("records", [
    told_records({"cca": {64: [0.5]}}),
    told_records({"cca": {0: [0.5]}}),
    told_records({"spdq": {16: [0.5]}}, "heldout", "instance-recall@1", ["t2u"]),
    told_records({"spdq": {32: [0.5, 0.6]}, "cca": {32: [0.4]}}, "unseen", "precision@10"),
    [bare_record("spdq", 64, [told_figure("seen", "", "i2t", "map@all", None)])],
])  # fmt: skip
def test_small_runs_have_reports(records, tmp_path):
    write_report(records, tmp_path, COMMAND)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_nothing_to_report(tmp_path):
    with pytest.raises(DataError, match="no records"):
        write_report([], tmp_path, COMMAND)
    assert not list(tmp_path.iterdir())


def test_scores_of_other_queries(tmp_path):
    records = made_records({"made": [""]}, {"spdq": 0.6}, (64,), seeds=1, queries=8, trainings=["rest"])
    records += made_records({"made": [""]}, {"cca": 0.3}, (64,), seeds=1, queries=7, trainings=["rest"])
    records = [record for record in records if record["coding"] == "codes"]
    with pytest.raises(DataError, match="expected the same queries, got 7 and 8 of them"):
        write_report(records, tmp_path, COMMAND)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(records, tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*report\.md: No such file or directory"):
        write_report(told_records({"cca": {64: [0.5]}}), tmp_path / "missing", COMMAND)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*report\.html: Is a directory"):
        write_report(told_records({"cca": {64: [0.5]}}), tmp_path, COMMAND)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_results_are_those_of_the_records(found, records):
    assert found.results.records == Results(records).records
