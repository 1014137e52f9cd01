"""`tied` is derived from the answers again, and a run of a version without it still opens."""

import json
from dataclasses import replace

import pytest
from readers import measured, refused_by_all

from tests.oracles.made_directory import forged
from tests.oracles.made_scores import BASE, made_limit, made_policy, made_run, made_score, made_task, ones
from unlearn_guard.command_line.app import run as command
from unlearn_guard.records import Property, Role
from unlearn_guard.reopening.run import read_run
from unlearn_guard.runs.directory import write_run

DROP = made_limit("forget_drop", at_least=0.3)
TIED = made_limit("tied", guards=Property.REPORTED, at_most=0.1)


def answers(score, ties):
    """The same, the first `ties` of its items with two that are likeliest; the second choice is right, and loses."""
    task = replace(score.task, likeliest=True)
    made = []
    for index, each in enumerate(score.samples):
        wrong = (-1.0, -1.0) if index < ties else (-1.0, -2.0)
        right = index >= ties and each.correct
        made.append(replace(each, target="1", correct=float(right), loglikelihoods=(-2.0, -1.0) if right else wrong))
    return made_score(task, [each.correct for each in made], score.subject), tuple(made)


@pytest.fixture
def run_of(tmp_path):
    """A run of 40 forget and 40 retain items, of whose candidate's forget answers this many are tied."""

    def make(ties, *limits):
        task, kept = made_task(40), made_task(40, "retain_task", Role.RETAIN)
        both = [
            answers(made_score(task, ones(36, 40), BASE), 0),
            answers(made_score(task, ones(0, 40)), ties),
            answers(made_score(kept, ones(38, 40), BASE), 0),
            answers(made_score(kept, ones(38, 40)), 0),
        ]
        scores = [replace(score, samples=samples) for score, samples in both]
        run, _ = made_run(limits=limits, scores=scores)
        write_run(run, scores, tmp_path / "run")
        return tmp_path / "run"

    return make


@pytest.mark.parametrize(("ties", "status"), [(4, 0), (5, 1)])
def test_a_limit_holds_up_to_its_share(run_of, ties, status, capsys):
    out = run_of(ties, DROP, TIED)
    assert measured(json.loads((out / "run.json").read_text()), "tied")["value"] == ties / 40
    assert command(["judge", str(out)]) == status
    assert ("tied[forget_task-full]" in capsys.readouterr().out) == bool(status)


def test_a_forged_share_is_refused(run_of, capsys):
    out = run_of(20, DROP, TIED)
    forged(out, lambda content: measured(content, "tied").update(value=0.0))
    refused_by_all(out, "tied[forget_task-full]", "0.5, from the files", capsys=capsys)


def test_one_that_is_left_out_is_refused(run_of, capsys):
    out = run_of(20, DROP, TIED)
    forged(out, lambda content: content["measurements"].remove(measured(content, "tied")))
    refused_by_all(out, "no tied[forget_task-full]", capsys=capsys)


def without(content):
    content["measurements"] = [each for each in content["measurements"] if each["metric"] != "tied"]


def test_an_earlier_version_s_run_opens_and_passes_by_what_it_has(run_of, capsys):
    out = run_of(20, DROP)
    forged(out, without)
    assert read_run(out).verdict.passed
    assert command(["judge", str(out)]) == 0


def test_of_an_earlier_version_s_run_a_limit_is_unmeasured_and_not_passed(run_of, tmp_path, capsys):
    """By its own policy and by one that is newer than the run."""
    out = run_of(0, DROP, TIED)
    forged(out, without)
    assert command(["judge", str(out)]) == 5
    newer = tmp_path / "newer.yaml"
    newer.write_text(made_policy((DROP, TIED), read_run(out).tasks).text)
    out = run_of(0, DROP)
    forged(out, without)
    assert command(["judge", str(out), "--thresholds", str(newer)]) == 5
    assert "tied[forget_task-full]" in capsys.readouterr().out


def test_a_limit_on_a_role_is_on_those_of_its_tasks_that_can_tie(run_of, tmp_path, capsys):
    """And where none can, or one is named that cannot, the policy does not fit the suite."""
    out = run_of(0, DROP)
    policy = tmp_path / "policy.yaml"
    for task, likeliest, status in (("@retain", True, 0), ("@retain", False, 4), ("retain_task", False, 4)):
        path = out / "run.json"
        held = path.read_bytes()
        content = json.loads(held)
        for each in content["tasks"]:
            each["likeliest"] = likeliest or each["name"] != "retain_task"
        forged(out, lambda _, content=content: _.update(content))
        if not likeliest:
            forged(
                out,
                lambda c: c.update(
                    measurements=[m for m in c["measurements"] if (m["metric"], m["task"]) != ("tied", "retain_task")]
                ),
            )
        policy.write_text(
            f'version: 1\nlimits:\n  - {{metric: tied, task: "{task}", precision: full, at_most: 0.1, because: x}}\n'
        )
        assert command(["judge", str(out), "--thresholds", str(policy)]) == status
        assert status == 0 or "tied" in capsys.readouterr().err
        path.write_bytes(held)
