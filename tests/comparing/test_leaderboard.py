"""From directories to a site: what enters, what is refused, and what it costs."""

import csv
import json
import resource
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.oracles.made_cells import write_made_cell, write_made_run
from tests.oracles.made_evidence import EVIL
from unlearn_guard.comparing.leaderboard import write_leaderboard
from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.runs.cell_file import CellFile, write_cell
from unlearn_guard.runs.directory import open_run


@pytest.fixture
def comparison(tmp_path):
    """Two seeds of one method, one of another, a cell that failed, one that was cut short."""
    write_made_cell(tmp_path / "c" / "a0", method="npo", seed=0, settings={"lr": "1e-3"}, forget_nf4=30)
    write_made_cell(tmp_path / "c" / "a1", method="npo", seed=1, settings={"lr": "1e-3"}, forget_nf4=34)
    write_made_cell(tmp_path / "c" / "b0", method="mansu")
    write_made_cell(tmp_path / "c" / "c0", method="gu", state="failed", error="out of memory")
    write_made_cell(tmp_path / "c" / "d0", method="rmu", state="begun")
    return tmp_path / "c"


def lines(site):
    return list(csv.DictReader((site / "leaderboard.csv").read_text().splitlines()))


def test_a_site_from_a_comparison(comparison, tmp_path):
    site = write_leaderboard([comparison], tmp_path / "site", to_markdown=tmp_path / "a.md")
    assert [(row.rank, row.first.method, len(row.entries)) for row in site.board.rows] == [
        (1, "mansu", 1),
        (2, "npo", 2),
    ]
    assert [(each.method, each.why[:13]) for each in site.board.absent] == [
        ("gu", "out of memory"),
        ("rmu", "not finished:"),
    ]
    told = lines(tmp_path / "site")
    assert [(each["method"], each["seed"], each["score_nf4"], each["rank"]) for each in told] == [
        ("mansu", "0", "0.2", "1"), ("npo", "0", "0.3", "2"), ("npo", "1", "0.34", "2"),
        ("gu", "0", "", ""), ("rmu", "0", "", ""),
    ]  # fmt: skip
    content = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert content["runs"][1]["numbers"]["gap"] == pytest.approx(0.1)
    assert content["runs"][0]["run"].startswith("sha256:")
    assert content["not_measured"][0]["why"] == "out of memory"
    text = (tmp_path / "a.md").read_text()
    assert "| 1 | <code>mansu</code> |" in text
    assert "0.320 &#177; 0.02" in text
    assert "| <code>gu</code> | <code>made</code> | 0 | out of memory |" in text
    shown = (tmp_path / "site" / "index.html").read_text()
    assert "0.320 ± 0.02" in shown
    assert "out of memory" in shown


def test_links_lead_to_the_reports_where_they_lie(comparison, tmp_path):
    write_leaderboard([comparison], tmp_path / "site")
    shown = (tmp_path / "site" / "index.html").read_text()
    links = [part.partition('"')[0] for part in shown.split('href="')[1:]]
    found = [link for link in links if link.endswith("report.html")]
    assert len(found) == 3
    assert all((tmp_path / "site" / unquote(link)).read_text() == "a report" for link in found)


def test_reports_in_the_site_are_made_from_what_was_hashed(comparison, tmp_path):
    write_leaderboard([comparison], tmp_path / "site", with_reports=True)
    pages = sorted((tmp_path / "site" / "reports").glob("*.html"))
    assert len(pages) == 3
    assert all("unlearn-guard" in each.read_text() for each in pages)
    shown = (tmp_path / "site" / "index.html").read_text()
    assert all(f'href="reports/{each.name}"' in shown for each in pages)


@pytest.mark.parametrize(
    "name", ["run/run.json", "run/samples/forget_task.nf4.candidate.jsonl", "run/weights/nf4.json"]
)
def test_an_edited_run_is_refused_by_name_and_nothing_is_written(comparison, tmp_path, name):
    path = comparison / "b0" / name
    edits = {b"0.2": b"0.1", b'"correct": 0.0': b'"correct": 1.0', b": 1000": b": 2000"}
    data = path.read_bytes()
    for before, after in edits.items():
        data = data.replace(before, after)
    path.write_bytes(data)
    with pytest.raises(RunDirectoryError, match="b0"):
        write_leaderboard([comparison], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_consistent_run_in_the_place_of_a_cell_s_own_is_refused(comparison, tmp_path):
    shutil.rmtree(comparison / "a0" / "run")
    shutil.copytree(comparison / "b0" / "run", comparison / "a0" / "run")
    with pytest.raises(RunDirectoryError, match=r"a0.*\n?.*which the cell measured"):
        write_leaderboard([comparison], tmp_path / "site")


def test_every_edited_run_is_named_at_once(comparison, tmp_path):
    for name in ("a0", "b0"):
        (comparison / name / "run" / "run.json").write_text("{}")
    with pytest.raises(RunDirectoryError) as error:
        write_leaderboard([comparison], tmp_path / "site")
    assert "a0" in str(error.value)
    assert "b0" in str(error.value)


def test_plain_runs_enter_and_count_once(tmp_path):
    run = write_made_run(tmp_path / "r" / "one", method="ga")
    shutil.copytree(run, tmp_path / "r" / "copy")
    (tmp_path / "r" / "half" / "samples").mkdir(parents=True)
    site = write_leaderboard([tmp_path / "r", run], tmp_path / "site")
    assert sum(len(row.entries) for row in site.board.rows) == 1
    assert [each.why for each in site.board.absent] == ["not finished: there is no run.json"]


def test_where_every_cell_failed_there_is_a_page_that_says_so(tmp_path):
    write_made_cell(tmp_path / "c" / "x", state="failed", error="out of memory")
    site = write_leaderboard([tmp_path / "c"], tmp_path / "site", to_markdown=tmp_path / "a.md")
    assert site.board.rows == ()
    assert "out of memory" in (tmp_path / "site" / "index.html").read_text()
    assert "out of memory" in (tmp_path / "a.md").read_text()


def test_a_directory_without_a_run_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    write_made_run(tmp_path / "run")
    for place in ("empty", "nowhere"):
        with pytest.raises(RunDirectoryError, match=place):
            write_leaderboard([tmp_path / "run", tmp_path / place], tmp_path / "site")


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_hostile_names_stay_text(tmp_path):
    settings = {"=cmd|' /C calc'!A0": EVIL}
    write_made_cell(tmp_path / "c" / "x", method="=" + EVIL, settings=settings, changes={"suite": EVIL})
    write_made_cell(tmp_path / "c" / "y", method=EVIL, settings=settings, state="failed", error=EVIL)
    write_leaderboard([tmp_path / "c"], tmp_path / "site", to_markdown=tmp_path / "a.md")
    shown = (tmp_path / "site" / "index.html").read_text()
    tags = Tags(shown).found
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert not {"img", "iframe", "form", "base", "object"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert all(each.isprintable() or each == "\n" for each in shown)
    table = (tmp_path / "site" / "leaderboard.csv").read_text()
    assert all(each.isprintable() or each == "\n" for each in table)
    for line in csv.reader(table.splitlines()):
        assert not [cell for cell in line if cell[:1] in ("=", "+", "-", "@") and not _is_number(cell)]
    text = (tmp_path / "a.md").read_text()
    assert "<script" not in text
    assert "](" not in text
    assert "@everyone" not in text


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.slow
def test_two_hundred_runs_take_less_than_ten_seconds_and_five_megabytes(tmp_path):
    made = write_made_run(tmp_path / "made")
    for index in range(200):
        place = tmp_path / "c" / f"{index:03}"
        shutil.copytree(made, place / "run")
        content = json.loads((made / "run.json").read_text()) | {"seconds": float(index)}
        (place / "run" / "run.json").write_text(json.dumps(content))
        cell = CellFile(
            method=f"method{index % 40}", suite="made", seed=index // 40, settings={"lr": "1e-4"}, asked="x",
            state="measured", run=open_run(place / "run").digest,
        )  # fmt: skip
        write_cell(place, cell)
    command = [sys.executable, "-m", "unlearn_guard", "leaderboard", str(tmp_path / "c"), "--out", "site"]
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[2])})
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    assert seconds < 10
    assert sum(path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file()) < 5_000_000
    assert len(lines(tmp_path / "site")) == 200
