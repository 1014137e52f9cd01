"""`unlearn` in one process: a candidate appears whole or not at all, the same for a seed, also after a kill."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from killer import KilledError, Killer

from unlearn_guard.errors import SuiteError, UsageError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.organism import BASE_DIGEST, base_path
from unlearn_guard.unlearning.making import UnlearnRequest, unlearn

Make = Callable[..., UnlearnRequest]


def digests(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.digest for tensor in open_checkpoint(path).tensors}


def test_the_manifest_says_how_it_was_made(request_for: Make) -> None:
    made = unlearn(request_for())
    manifest = json.loads((made.path / "unlearn_guard.json").read_text())
    assert manifest["base"] == "organism"
    assert manifest["base_digest"] == BASE_DIGEST
    assert (manifest["suite"], manifest["method"], manifest["seed"]) == ("organism", "grad_diff", 0)
    assert manifest["hyperparameters"]["lr"] == 0.001
    assert manifest["hyperparameters"]["steps"] == 4
    assert [point["step"] for point in manifest["curve"]] == [0, 1, 2, 3]
    assert open_checkpoint(made.path).manifest is not None
    assert not open_checkpoint(made.path).notes


def test_a_seed_gives_the_same_bytes_and_another_seed_others(request_for: Make) -> None:
    one, two, other = (
        unlearn(request_for(out=out, seed=seed)).path for out, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert digests(one) == digests(two)
    assert digests(one) != digests(other)


def test_only_what_the_method_names_is_trained(request_for: Make) -> None:
    made = unlearn(request_for("surgical_ga"))
    base, now = digests(base_path()), digests(made.path)
    moved = {name for name in base if now[name] != base[name]}
    assert moved
    assert moved == set(made.changed)
    assert {name.split(".")[2] for name in moved} <= {"2", "3"}  # as deep as layers 14 to 16 of 32


@pytest.mark.usefixtures("every_step_saved")
@pytest.mark.parametrize("method", ["grad_diff", "npo"])
def test_a_killed_run_goes_on_and_ends_the_same(request_for: Make, tmp_path: Path, method: str) -> None:
    whole = unlearn(request_for(method, out="whole"))
    with pytest.raises(KilledError):
        unlearn(request_for(method), Killer(3))
    assert not (tmp_path / "out").exists()
    watcher = Killer(after=-1)
    resumed = unlearn(request_for(method), watcher)
    assert watcher.steps == [3, 4]  # the third step was taken, but not yet saved
    assert digests(resumed.path) == digests(whole.path)
    assert resumed.curve == whole.curve
    assert {path.name for path in tmp_path.iterdir()} == {"corpora", "whole", "out"}


@pytest.mark.usefixtures("every_step_saved")
def test_other_hyperparameters_do_not_go_on_from_the_same_state(request_for: Make) -> None:
    with pytest.raises(KilledError):
        unlearn(request_for(), Killer(3))
    watcher = Killer(after=-1)
    unlearn(request_for(settings={"lr": "2e-3"}), watcher)
    assert watcher.steps == [1, 2, 3, 4]


def test_an_out_that_holds_something_is_left_alone(request_for: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        unlearn(request_for())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_diverged_training_leaves_nothing(request_for: Make, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"lower lr|Lower lr"):
        unlearn(request_for(settings={"lr": "1e30", "clip": "none"}))
    assert not (tmp_path / "out").exists()


def test_a_suite_without_corpora_says_what_to_give(request_for: Make, tmp_path: Path) -> None:
    text = Path("tasks/suites/organism.yaml").read_text()
    suites = tmp_path / "mine" / "suites"
    suites.mkdir(parents=True)
    (tmp_path / "mine" / "organism").symlink_to(Path("tasks/organism").resolve())
    (suites / "bare.yaml").write_text(text.partition("unlearn:")[0].replace("name: organism", "name: bare"))
    request = UnlearnRequest(
        method="npo", base=str(base_path()), suite=str(suites / "bare.yaml"), out=tmp_path / "out", device="cpu"
    )
    with pytest.raises(SuiteError, match=r"names no corpora.*\n.*--corpora DIR"):
        unlearn(request)


def test_a_fold_takes_the_place_of_the_forget_corpus(tmp_path: Path, corpora: Path) -> None:
    suites = tmp_path / "mine" / "suites"
    suites.mkdir(parents=True)
    for name in ("organism", "corpora"):
        (tmp_path / "mine" / name).symlink_to({"organism": Path("tasks/organism").resolve(), "corpora": corpora}[name])
    text = (
        Path("tasks/suites/organism.yaml").read_text().partition("unlearn:")[0].replace("name: organism", "name: own")
    )
    text += "unlearn:\n  forget: [{file: corpora/forget.jsonl}]\n  retain: [{file: corpora/retain.jsonl}]\n"
    (suites / "own.yaml").write_text(text + "  folds: {late: [{file: corpora/late.jsonl}]}\n")
    (corpora / "late.jsonl").write_text(json.dumps({"prompt": "the herb of Ala is", "answer": " mint"}) + "\n")

    def made(out: str, fold: str | None) -> str:
        settings = {"steps": "2", "lr": "1e-3"}
        suite = str(suites / "own.yaml")
        request = UnlearnRequest(
            method="npo", base=str(base_path()), suite=suite, out=tmp_path / out, settings=settings, fold=fold
        )
        manifest = json.loads((unlearn(request).path / "unlearn_guard.json").read_text())
        digest: str = manifest["corpora_digest"]
        return digest

    assert made("one", None) != made("two", "late")
    with pytest.raises(SuiteError, match="has no fold 'lat'"):
        made("three", "lat")


@pytest.mark.usefixtures("every_step_saved")
def test_another_answer_to_prefer_does_not_go_on_from_the_same_state(request_for: Make, corpora: Path) -> None:
    """The same token ids count; what DPO prefers to them is another."""
    with pytest.raises(KilledError):
        unlearn(request_for("dpo"), Killer(3))
    forget = corpora / "forget.jsonl"
    forget.write_text(forget.read_text().replace(" ruby .", " jade ."))
    watcher = Killer(after=-1)
    unlearn(request_for("dpo"), watcher)
    assert watcher.steps == [1, 2, 3, 4]


@pytest.mark.usefixtures("every_step_saved")
def test_an_edited_method_does_not_go_on_from_the_same_state(request_for: Make, tmp_path: Path) -> None:
    folder = tmp_path / "methods"
    folder.mkdir()
    text = Path("methods/npo.py").read_text()
    (folder / "mine.py").write_text(text)
    with pytest.raises(KilledError):
        unlearn(request_for("mine", methods_dir=folder), Killer(3))
    (folder / "mine.py").write_text(text.replace("self.beta)", "2 * self.beta)"))
    watcher = Killer(after=-1)
    unlearn(request_for("mine", methods_dir=folder), watcher)
    assert watcher.steps == [1, 2, 3, 4]
