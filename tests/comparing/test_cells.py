"""Which cells a comparison has, what makes one another, and what becomes of it on disk."""

from dataclasses import replace

import pytest

from tests.oracles.made_cells import write_made_run
from unlearn_guard.comparing.cells import Comparison, cells
from unlearn_guard.comparing.measure_cell import decode, encode, told
from unlearn_guard.errors import PolicyError, RunDirectoryError, SuiteError, UsageError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.organism import base_path
from unlearn_guard.runs.cell_file import write_cell
from unlearn_guard.runs.directory import open_run


@pytest.fixture(scope="module")
def base():
    return open_checkpoint(base_path())


@pytest.fixture
def asked(tmp_path):
    return Comparison(methods=("npo", "gu"), base=str(base_path()), suites=("organism",), out=tmp_path / "out")


def test_every_method_setting_suite_and_seed_is_a_cell(asked, base, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("npo: {steps: [1, 2]}")
    found = cells(replace(asked, seeds=(0, 7), grid=grid), base)
    assert [(cell.method, cell.settings.get("steps"), cell.seed) for cell in found] == [
        ("npo", "1", 0), ("npo", "1", 7), ("npo", "2", 0), ("npo", "2", 7), ("gu", None, 0), ("gu", None, 7),
    ]  # fmt: skip
    assert len({cell.folder for cell in found}) == 6
    assert found[0].name == "npo steps=1 on organism, seed 0"
    assert cells(asked, base)[0].folder.name.startswith("npo-organism-s0-")


def test_parts_are_disjoint_and_make_the_whole(asked, base):
    whole = cells(replace(asked, seeds=tuple(range(5))), base)
    parts = [cells(replace(asked, seeds=tuple(range(5)), part=(index, 3)), base) for index in (1, 2, 3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert {cell.folder for part in parts for cell in part} == {cell.folder for cell in whole}


def test_all_is_every_method(asked, base):
    assert {"mansu", "npo", "global_ga"} < {cell.method for cell in cells(replace(asked, methods=("all",)), base)}


def test_what_makes_the_candidate_makes_the_folder_and_how_it_is_checked_does_not(asked, base, tmp_path):
    first = cells(asked, base)[0]
    grid = tmp_path / "grid.yaml"
    grid.write_text("npo: {lr: 0.5}")
    assert cells(replace(asked, grid=grid), base)[0].folder != first.folder
    other = replace(base, checkpoint=replace(base.checkpoint, digest="other"))
    assert cells(asked, other)[0].folder != first.folder
    for change in ({"precisions": ("full",)}, {"thresholds": "strict"}, {"limit": 3}):
        changed = cells(replace(asked, **change), base)[0]
        assert changed.folder == first.folder
        assert changed.asked != first.asked


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"methods": ("nppo",)}, UsageError, "Did you mean"),
        ({"suites": ("organsim",)}, SuiteError, "organism"),
        ({"precisions": ("full", "nf5")}, UsageError, "nf4"),
        ({"thresholds": "nowhere.yaml"}, PolicyError, "nowhere"),
    ],
)
def test_bad_words_are_found_before_anything_is_made(asked, base, changes, kind, said):
    with pytest.raises(kind, match=said):
        cells(replace(asked, **changes), base)
    assert not asked.out.exists()


def test_a_hyperparameter_that_the_method_lacks_is_found_too(asked, base, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("npo: {stepz: 1}")
    with pytest.raises(UsageError, match="other hyperparameters"):
        cells(replace(asked, grid=grid), base)


def test_a_finished_cell_is_found_unless_it_was_checked_in_another_way(asked, base):
    cell = cells(asked, base)[0]
    assert cell.found() is None
    digest = open_run(write_made_run(cell.folder / "run")).digest
    write_cell(cell.folder, cell.file(state="measured", run=digest))
    assert cell.found().run == digest
    assert cells(replace(asked, limit=3), base)[0].found() is None


def test_an_edited_run_is_neither_taken_nor_written_over(asked, base):
    cell = cells(asked, base)[0]
    digest = open_run(write_made_run(cell.folder / "run")).digest
    write_cell(cell.folder, cell.file(state="measured", run=digest))
    path = cell.folder / "run" / "run.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(RunDirectoryError, match="edited"):
        cell.found()
    path.unlink()
    with pytest.raises(RunDirectoryError, match="nothing"):
        cell.found()


def test_a_job_survives_the_way_to_its_process(asked, base):
    asked = replace(asked, seeds=(3,), part=(1, 2), precisions=("full", "nf4"), tasks_dirs=(base_path(),))
    cell = cells(asked, base)[0]
    line = encode(asked, cell)
    assert line.count("\n") == 1
    assert decode(line) == (asked, cell)


def test_what_is_no_progress_says_nothing():
    assert told('{"text": "score"}').text == "score"
    assert told('{"done": 3, "of": 4}').of == 4
    assert told("a library's line\n") == told("[]") == told('{"text": 1}') == told("{}")
