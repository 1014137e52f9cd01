"""What was tried to have knowledge back is derived again, and trials that contradict the run are refused."""

import json
from dataclasses import replace

import pytest
from readers import measured, refused_by_all

from tests.oracles.made_directory import forged
from tests.oracles.made_scores import BASE as BASE_DIGEST
from tests.oracles.made_scores import CANDIDATE as CANDIDATE_DIGEST
from tests.oracles.made_scores import made_limit, made_run, made_score, made_task, ones
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.recovered import AS_IT_IS, BLINDLY, recovered
from unlearn_guard.records import BASE, CANDIDATE, CONTROL, Property, Trial, Trials
from unlearn_guard.reopening.run import read_run
from unlearn_guard.runs.directory import write_run
from unlearn_guard.runs.trials_file import file_name, write_trials

ITEMS = 80
NAME = f"residue/{file_name('relearn_recovery', 'forget_task', 'full')}"
LIMITS = (
    made_limit("forget_drop", at_least=0.3),
    made_limit("relearn_recovery", at_most=0.2, guards=Property.ERASURE),
)


def trials(back=60, metric="relearn_recovery"):
    """Base answers 72 of 80 items, of which 8 others were taught; the candidate 8, and `back` after it was taught."""
    taught = {f"{index}" for index in range(8)}
    places = [index for index in range(ITEMS) if f"{index}" not in taught]

    def of(right):
        return tuple(float(index < right) for index in places)

    return Trials(
        metric=metric,
        task="forget_task",
        precision="full",
        subject=CANDIDATE_DIGEST,
        items=tuple(str(index) for index in places),
        trials=(
            Trial(who=CANDIDATE, setting="lr 0.001, 5 steps", correct=of(back)),
            Trial(who=BASE, setting=AS_IT_IS, correct=of(72)),
            Trial(who=CANDIDATE, setting=AS_IT_IS, correct=of(16)),
            Trial(who=CONTROL, setting=BLINDLY, correct=(0.25,) * len(places)),
        ),
    )


def directory(out, made, limits=LIMITS):
    task = made_task(ITEMS)
    scores = (made_score(task, ones(72, ITEMS), BASE_DIGEST), made_score(task, ones(16, ITEMS)))
    run, _ = made_run(limits=limits, scores=scores)
    measurement = recovered(made, seed=0)
    measurements = run.measurements if measurement is None else (*run.measurements, measurement)
    verdict = judge(run.policy.limits, measurements, candidate=CANDIDATE_DIGEST, complete=True)
    out.mkdir()
    (out / ".unlearn-guard").touch()
    write_trials(out / "residue", made)
    write_run(replace(run, measurements=measurements, verdict=verdict), scores, out)
    return out


@pytest.fixture
def run_dir(tmp_path):
    return directory(tmp_path / "run", trials())


def test_an_honest_run_is_read_with_the_same_verdict(run_dir, tmp_path):
    run = read_run(run_dir)
    assert run.verdict.failed
    assert [check.id for check in run.verdict.checks if check.outcome == "failed"] == [
        "relearn_recovery[forget_task-full]"
    ]
    assert read_run(directory(tmp_path / "other", trials(back=16))).verdict.passed


def test_trials_that_show_nothing_leave_the_limit_unmeasured(tmp_path):
    """A base that gives no more than the control: the measurement is not there, and its limit is not passed."""
    made = trials()
    weak = tuple(replace(each, correct=(0.25,) * 72) if each.who == BASE else each for each in made.trials)
    assert recovered(replace(made, trials=weak), seed=0) is None


def bent(run_dir, change):
    """Edit the trials, and the digest that run.json has of them, as a forger does."""
    path = run_dir / NAME
    held = json.loads(path.read_bytes())
    change(held["trials"])
    path.write_text(json.dumps(held))
    forged(run_dir, lambda content: None)


def test_a_recovery_that_the_trials_do_not_give_is_refused(run_dir, capsys):
    forged(run_dir, lambda content: measured(content, "relearn_recovery").update(value=0.0))
    refused_by_all(run_dir, "relearn_recovery[forget_task-full]", capsys=capsys)


def test_an_interval_that_the_trials_do_not_give_is_refused(run_dir, capsys):
    def lower(content):
        measured(content, "relearn_recovery")["intervals"][0]["low"] = 0.0

    forged(run_dir, lower)
    refused_by_all(run_dir, "intervals (relearn_recovery", capsys=capsys)


def test_a_measurement_without_its_trials_is_refused(run_dir, capsys):
    (run_dir / NAME).unlink()
    forged(run_dir, lambda content: content["files"].pop(NAME))
    refused_by_all(run_dir, "relearn_recovery[forget_task-full]", capsys=capsys)


def test_trials_without_their_measurement_are_refused(run_dir, capsys):
    def leave_out(content):
        content["measurements"] = [each for each in content["measurements"] if each["metric"] != "relearn_recovery"]

    forged(run_dir, leave_out)
    refused_by_all(run_dir, "no relearn_recovery[forget_task-full]", capsys=capsys)


def trial(held, who, setting):
    (found,) = (each for each in held["trials"] if (each["who"], each["setting"]) == (who, setting))
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: trial(held, CANDIDATE, AS_IT_IS).update(correct=[0.0] * 72), "those of the run"),
        (lambda held: trial(held, BASE, AS_IT_IS).update(correct=[1.0] * 72), "those of the run"),
        (lambda held: trial(held, CONTROL, BLINDLY).update(correct=[0.9] * 72), "0.25, the task's"),
        (
            lambda held: trial(held, CONTROL, BLINDLY).update(setting="retrained, lr 0.001, 5 steps"),
            "no retrained model",
        ),
        (lambda held: trial(held, CONTROL, BLINDLY).update(setting=AS_IT_IS), "drawn blindly"),
        (lambda held: held.update(subject="sha256:other"), "sha256:candidate"),
        (lambda held: held.update(items=[f"x{index}" for index in range(72)]), "those of the run"),
        (lambda held: held["trials"].pop(0), "an attack at least"),
    ],
)
def test_trials_that_contradict_the_run_are_refused(run_dir, capsys, change, said):
    bent(run_dir, change)
    refused_by_all(run_dir, NAME, said, capsys=capsys)


def test_layers_that_were_left_out_are_seen(tmp_path, capsys):
    made = trials(metric="lens_recovery")
    layers = [
        Trial(who=who, setting=f"layer {layer}", correct=made.trials[0].correct)
        for who in (BASE, CANDIDATE)
        for layer in (0, 1)
    ]
    whole = replace(made, trials=(*layers, made.trials[3]))
    out = directory(tmp_path / "run", whole, limits=LIMITS[:1])
    assert read_run(out).verdict.passed
    short = replace(whole, trials=(*layers[:3], made.trials[3]))
    out = directory(tmp_path / "other", short, limits=LIMITS[:1])
    refused_by_all(out, "the candidate's", capsys=capsys)
