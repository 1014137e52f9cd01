"""A comparison in a bucket and on two machines: what is finished meets, and what was edited is refused."""

import hashlib

import pytest

from tests.oracles.made_cells import write_made_cell
from tests.runs.buckets import made_url
from unlearn_guard.comparing.leaderboard import write_leaderboard
from unlearn_guard.errors import RunDirectoryError, TakenError
from unlearn_guard.runs import cell_file, lease, mirror
from unlearn_guard.runs.bucket import Bucket, open_bucket
from unlearn_guard.runs.claim import claim


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "PATIENCE", 2)
    monkeypatch.setattr(lease, "BEAT", 0.05)
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))


@pytest.fixture
def machines(tmp_path):
    """The directories of two machines for one comparison."""
    return [tmp_path / name / "compared" / "x" / "cells" for name in ("one", "two")]


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "."
    }


def put_up(url, folder, asked="x"):
    with mirror.published(url, folder, asked) as publish:
        publish()


def test_a_url_has_one_directory_here_however_its_end_is_written(tmp_path):
    """And the same in the next release: what was fetched is found again."""
    here = mirror.mirror_of("s3://bucket/x")
    assert here.parent == tmp_path / "store" / "compared"
    assert here.name == hashlib.sha256(b"s3://bucket/x").hexdigest()[:16]
    assert mirror.mirror_of("s3://bucket/x//") == here
    assert mirror.mirror_of("s3://bucket/X") != mirror.mirror_of("s3://bucket/xX") != here


def test_without_a_url_there_is_nothing_to_hold(tmp_path):
    with mirror.published(None, tmp_path / "cell", "x") as publish:
        publish()
    assert not list(tmp_path.iterdir())


def test_what_one_machine_measured_the_other_has(machines):
    url, (one, two) = made_url(), machines
    put_up(url, write_made_cell(one / "npo"))
    mirror.meet(url, {two / "other": "x", two / "npo": "x"})
    assert files(two / "npo") == files(one / "npo")
    assert not (two / "other").exists()
    with mirror.published(url, two / "npo", "x") as publish:
        publish()
    assert "claim.000002" not in open_bucket(url).names("cells/npo"), "finished: not held again"


def test_what_is_here_already_is_not_fetched_again_and_what_is_another_is_replaced(machines, monkeypatch):
    url, (one, two) = made_url(), machines
    put_up(url, write_made_cell(one / "npo"))
    mirror.meet(url, {two / "npo": "x"})
    with monkeypatch.context() as away:
        away.setattr(Bucket, "download", lambda *_: pytest.fail("fetched again"))
        mirror.meet(url, {two / "npo": "x"})
    assert "claim.000002" not in open_bucket(url).names("cells/npo")
    asked_again(two / "npo", "another policy")
    mirror.meet(url, {two / "npo": "x"})
    assert files(two / "npo") == files(one / "npo")


def test_cell_json_goes_up_last(machines, monkeypatch):
    url, written = made_url(), []
    first = Bucket.write
    monkeypatch.setattr(Bucket, "write", lambda self, name, data: (written.append(name), first(self, name, data)))
    put_up(url, write_made_cell(machines[0] / "npo"))
    results = [name for name in written if "claim" not in name]
    assert results[-1] == "cells/npo/cell.json"
    assert results.index("cells/npo/run/run.json") < len(results) - 1


def test_whoever_was_taken_over_leaves_the_bucket_as_it_is(machines):
    url, (one, _) = made_url(), machines
    write_made_cell(one / "npo")
    with mirror.published(url, one / "npo", "x") as publish:
        open_bucket(url).write("cells/npo/claim.000002", b"another 1")
        with pytest.raises(TakenError):
            publish()
    assert open_bucket(url).read("cells/npo/cell.json") is None


def test_what_was_finished_here_and_not_put_up_goes_up_when_they_meet(machines):
    """The process was killed between the two."""
    url, (one, two) = made_url(), machines
    with claim(one / "npo"):
        write_made_cell(one / "npo")
    open_bucket(url).write("cells/npo/cell.json", cell_bytes(one.parent / "begun", state="begun"))
    mirror.meet(url, {one / "npo": "x"})
    mirror.meet(url, {two / "npo": "x"})
    assert files(two / "npo") == files(one / "npo")


def cell_bytes(folder, **made):
    return (write_made_cell(folder, **made) / "cell.json").read_bytes()


def test_a_failed_cell_is_fetched_with_its_reason_and_replaces_nothing_measured(machines):
    url, (one, two) = made_url(), machines
    open_bucket(url).write("cells/npo/cell.json", cell_bytes(one.parent / "f", state="failed", error="no room"))
    mirror.meet(url, {two / "npo": "x"})
    assert cell_file.read_cell(two / "npo").error == "no room"


def test_a_run_that_was_edited_in_the_bucket_is_refused(machines):
    url, (one, two) = made_url(), machines
    put_up(url, write_made_cell(one / "npo"))
    bucket = open_bucket(url)
    bucket.write("cells/npo/run/run.json", bucket.read("cells/npo/run/run.json") + b" ")
    with pytest.raises(RunDirectoryError, match="edited"):
        mirror.meet(url, {two / "npo": "x"})
    assert not (two / "npo" / "run").exists()


def test_samples_that_were_edited_in_the_bucket_stop_the_leaderboard(machines, tmp_path):
    url, (one, _) = made_url(), machines
    put_up(url, write_made_cell(one / "npo"))
    bucket = open_bucket(url)
    name = next(each for each in bucket.names("cells/npo/run") if each.endswith(".jsonl"))
    bucket.write(f"cells/npo/run/{name}", b"{}")
    with pytest.raises(RunDirectoryError):
        write_leaderboard(mirror.fetch_all(url), tmp_path / "site")


def test_a_leaderboard_of_a_bucket_is_that_of_the_directory(machines, tmp_path):
    url, (one, _) = made_url(), machines
    for seed in (0, 1):
        put_up(url, write_made_cell(one / f"npo{seed}", seed=seed, changes={"seconds": 5.0 + seed}))
    fetched = write_leaderboard(mirror.fetch_all(url), tmp_path / "site").board
    direct = write_leaderboard([one], tmp_path / "other").board
    digests = [sorted(entry.digest for row in board.rows for entry in row.entries) for board in (fetched, direct)]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2
    mirror.publish_folder(url, tmp_path / "site")
    assert "index.html" in open_bucket(url).names("site")


def asked_again(folder, asked):
    """The same cell, checked by another policy."""
    cell = cell_file.read_cell(folder)
    with claim(folder):
        cell_file.write_cell(folder, cell.model_copy(update={"asked": asked}))


def test_a_cell_that_was_checked_in_another_way_is_held_and_measured_again(machines):
    """Else the old result would stand in the bucket for ever, and come back over each new one."""
    url, (one, two) = made_url(), machines
    put_up(url, write_made_cell(one / "npo"))
    mirror.meet(url, {two / "npo": "another policy"})
    assert not (two / "npo" / "run").exists()
    with claim(two / "npo"):
        write_made_cell(two / "npo")
    asked_again(two / "npo", "another policy")
    put_up(url, two / "npo", asked="another policy")
    mirror.meet(url, {two / "npo": "another policy"})
    assert cell_file.read_cell(two / "npo").asked == "another policy"
    assert open_bucket(url).read("cells/npo/cell.json") == (two / "npo" / "cell.json").read_bytes()
    assert "claim.000002" in open_bucket(url).names("cells/npo")


def test_only_what_the_bucket_has_is_ranked(machines, tmp_path):
    url, (one, _) = made_url(), machines
    with pytest.raises(RunDirectoryError, match="no cell here"):
        mirror.fetch_all(url)
    for name in ("npo", "gone"):
        put_up(url, write_made_cell(one / name))
    mirror.fetch_all(url)
    bucket = open_bucket(url)
    for name in bucket.names("cells/gone"):
        bucket.files.rm_file(f"{bucket.root}/cells/gone/{name}")
    assert [folder.name for folder in mirror.fetch_all(url)] == ["npo"]
