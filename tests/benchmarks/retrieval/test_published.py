import re
import tomllib
from importlib.resources import files

import pytest
from made_records import PUBLISHED as GOOD

from spdq.errors import DataError
from spdq.evaluation import parse_protocol
from spdq_benchmarks.baselines.registry import HOMES
from spdq_benchmarks.retrieval.cells import PAPER
from spdq_benchmarks.retrieval.published import load_published


@pytest.fixture(scope="module")
def published():
    return load_published()


def table(published, name):
    (found,) = (table for table in published.tables if table.id == name)
    return found


def row(published, name, method, features=""):
    (found,) = (
        row for row in table(published, name).rows if (row.method, row.features) == (method, features)
    )
    return found.figures


def test_all_tables_are_there(published):
    assert [(t.id, len(t.rows)) for t in published.tables] == [
        ("spdq-2018", 11), ("cdq-2017", 9), ("cdq-2017-ablation", 3), ("dcmh-2017", 11), ("ssah-2018", 7),
        ("ssah-2018-vgg19", 3), ("agah-2019", 10), ("qdcmh-2021", 7), ("chn-2017", 9), ("cmhh-2018", 9),
        ("cah-2016", 6), ("ucch-2023", 11), ("ccah-2023", 6), ("dcmht-2022", 5), ("mith-2023", 6),
        ("wikipedia-cca", 1),
    ]  # fmt: skip
    figures = [
        values
        for found in published.tables
        for row in found.rows
        for by_direction in row.figures.values()
        for values in by_direction.values()
    ]
    assert sum(map(len, figures)) == 1388


def test_every_table_says_where_it_is_from_and_what_it_measures(published):
    for found in published.tables:
        assert found.source == f"{found.paper}, {found.venue} {found.year}, {found.number}"
        assert parse_protocol(found.nearest).name == found.nearest
        assert all(there.features for there in found.sets.values())


def test_the_copied_row_of_spdq_is_chns(published):
    assert row(published, "spdq-2018", "DCMH", "its own network") == row(published, "chn-2017", "DCMH")
    scm = row(published, "spdq-2018", "SCM", "hand-crafted")
    differing = [a == b for a, b in zip(scm["F"]["i2t"], scm["N"]["i2t"], strict=True)]
    assert differing == [True, False, True, True]


@pytest.mark.parametrize("method", ["CVH", "IMH", "CMSSH", "SCM", "SePH", "MMNN"])
def test_rows_that_cdq_and_chn_share(published, method):
    cdq, chn = row(published, "cdq-2017", method), row(published, "chn-2017", method)
    for letter in "FN":
        for direction in ("i2t", "t2i"):
            assert cdq[letter][direction][1::2] == chn[letter][direction][:2]


def test_rows_that_agah_took_from_ssah(published):
    for method, letters in (("CMSSH", "FN"), ("STMH", "N")):
        theirs, ours = row(published, "agah-2019", method), row(published, "ssah-2018", method)
        for letter in letters:
            for direction in ("i2t", "t2i"):
                assert theirs[letter][direction] == pytest.approx(ours[letter][direction], abs=0.00051)


def test_a_few_figures(published):
    assert row(published, "spdq-2018", "SPDQ", "its own network")["F"]["i2t"] == (
        0.9443,
        0.9476,
        0.9482,
        0.8725,
    )
    assert row(published, "cah-2016", "CAH")["N"]["t2i"] == (0.5019, 0.5135, 0.5451, 0.5800)
    assert row(published, "mith-2023", "MSSPQ")["N"]["i2t"] == (0.6346, 0.6478, 0.6615)
    assert row(published, "cmhh-2018", "DVSH")["I"]["t2i"] == (0.604, 0.640, 0.681)
    assert row(published, "wikipedia-cca", "CCA, vectors")["V"] == {"i2t": (0.319,), "t2i": (0.296,)}


def test_methods_of_ours_exist(published):
    assert set(published.methods.values()) <= {*HOMES, PAPER}


@pytest.mark.parametrize(("name", "letter"), [
    ("mirflickr", "F"), ("MIRFlickr-25K", "F"), ("wikipedia", "W"), ("wikipedia_cnn", "V"), ("NUS-WIDE TC10", "N"),
    ("emoji", None),
])  # fmt: skip
def test_data_sets_are_found_by_the_names_of_records(published, name, letter):
    assert published.letter(name) == letter


def test_the_file_is_packaged_beside_the_code():
    text = (files("spdq_benchmarks.retrieval") / "published.toml").read_text("utf-8")
    assert len(tomllib.loads(text)["table"]) == 16


def test_what_may_be_left_out():
    (found,) = load_published(GOOD).tables
    assert (found.errors, found.split) == ((), "seen")
    assert found.sets["F"].items == 100
    assert found.sets["F"].query is None


@pytest.mark.parametrize(("old", "new", "message"), [
    ("[methods]", "[methods", "published.toml: "),
    ("[methods]", "[more]", "the file: unknown key 'more'"),
    ('ours = ["mirflickr"]', "", "data_sets.F: 'ours' is missing"),
    ('venue = "Somewhere"', "", "table made: 'venue' is missing"),
    ('venue = "Somewhere"', 'place = "x"', "table made: unknown key 'place'"),
    ('venue = "Somewhere"', "venue = 3", "table made: expected text as venue, got 3"),
    ('protocol = "MAP@50"', 'protocol = ""', "table made: expected text as protocol, got ''"),
    ('nearest = "map@50"', 'nearest = "map@x"', "table made: nearest: unknown protocol 'map@x'"),
    ("bits = [16, 32]", "bits = [32, 16]", "table made: expected bits as ascending multiples of 8"),
    ("bits = [16, 32]", "bits = [16, 33]", "table made: expected bits as ascending multiples of 8"),
    ("bits = [16, 32]", "bits = []", "table made: expected bits as ascending multiples of 8"),
    ('seen = "partly"', 'seen = "perhaps"', "table made: expected seen as one of seen, partly, unseen, not stated"),
    ("year = 2017", "year = 17", "table made: expected a year, got 17"),
    ("[table.sets.F]", "[table.sets.G]", "table made: unknown data set G"),
    ("items = 100", "items = 0", "table made, set F: expected a count as items, got 0"),
    ("items = 100", "pieces = 1", "table made, set F: unknown key 'pieces'"),
    ("[0.5, 0.6]", "[0.5]", "table made, row SCM: expected 2 figures for each of i2t and t2i of F"),
    ("[[0.5, 0.6], [0.7, 0.8]]", "[[0.5, 0.6]]", "row SCM: expected 2 figures for each of i2t and t2i of F"),
    ("0.6", "60.0", "row SCM: expected figures between 0 and 1, got 60.0"),
    ("0.6", "nan", "row SCM: expected figures between 0 and 1, got nan"),
    ("0.6", "1", "row SCM: expected figures between 0 and 1, got 1"),
    (", F = [[0.5, 0.6], [0.7, 0.8]]", "", "table made, row SCM: no figures"),
    (", F = [[", ", H = [[", "table made, row SCM: unknown key 'H'"),
    ("rows = [", 'rows = [ { method = "SCM", F = [[0.1, 0.1], [0.1, 0.1]] },', "row SCM is there twice"),
    ("[[table]]", f"[[table]]\n{GOOD.partition('[[table]]')[2]}\n[[table]]", "table made is there twice"),
])  # fmt: skip
def test_what_is_wrong_is_named(old, new, message):
    assert old in GOOD
    with pytest.raises(DataError, match=re.escape(message)):
        load_published(GOOD.replace(old, new, 1))
