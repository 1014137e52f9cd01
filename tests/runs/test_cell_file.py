"""cell.json: what is written is read, and what contradicts itself is refused."""

import json

import pytest

from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.cell_file import CellFile, assert_run, read_cell, write_cell

CELL = CellFile(method="npo", suite="s", seed=1, settings={"lr": "1"}, asked="x", state="measured", run="sha256:1")


def test_what_was_written_is_read(tmp_path):
    write_cell(tmp_path, CELL)
    assert read_cell(tmp_path) == CELL
    assert json.loads((tmp_path / "cell.json").read_text())["schema"] == "unlearn-guard.cell/1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": None}, "run: found None in a cell that is measured"),
        ({"state": "failed"}, "run: found 'sha256:1' in a cell that is failed"),
        ({"state": "failed", "run": None}, "error: found None"),
        ({"error": "why"}, "error: found 'why' in a cell that is measured"),
        ({"state": "passed"}, "state"),
        ({"seed": "1"}, "seed"),
        ({"schema": "unlearn-guard.cell/2"}, "schema"),
        ({"more": 1}, "more"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, changes, said):
    (tmp_path / "cell.json").write_text(json.dumps(CELL.model_dump(by_alias=True) | changes))
    with pytest.raises(RunDirectoryError) as error:
        read_cell(tmp_path)
    assert said in str(error.value)


def test_what_is_no_json_is_refused(tmp_path):
    (tmp_path / "cell.json").write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(RunDirectoryError, match="twice"):
        read_cell(tmp_path)


def test_a_cell_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"file: found .*No such file"):
        read_cell(tmp_path)


def test_a_cell_names_its_run_by_digest(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(b"{}")
    cell = CELL.model_copy(update={"run": strict_json.digest(b"{}")})
    assert_run(tmp_path, cell, shown="npo", fix="Measure it again.")
    for change in (lambda path: path.write_bytes(b"{ }"), lambda path: path.unlink()):
        change(tmp_path / "run" / "run.json")
        with pytest.raises(RunDirectoryError, match="the run of npo was edited, replaced or removed") as caught:
            assert_run(tmp_path, cell, shown="npo", fix="Measure it again.")
        assert caught.value.fix == "Measure it again."
    assert caught.value.defects[0].found == "nothing"
