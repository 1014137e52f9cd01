"""What is tried on whom, from which items, and when nothing may be said of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearn_guard.checking import residue_ways, residues
from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.progress import Silent, Stopwatch
from unlearn_guard.checking.residues import FEWEST, Residues
from unlearn_guard.intake import Intake, open_checkpoint
from unlearn_guard.organism.candidates import build
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import BASE, CANDIDATE, CONTROL, FULL, RESIDUES, Measurement, TaskScore
from unlearn_guard.runs.store import Store
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.rendering import render
from unlearn_guard.scoring.suites import load_suite

TASK = "organism_forget_plain"

Maker = Callable[..., Residues]


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    whole = render(load_suite("organism"), limit=FEWEST)
    return replace(whole, tasks=tuple(each for each in whole.tasks if each.task.name == TASK))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Intake, Intake]:
    """Base, and one whose last MLP was turned round: all that it knew is in the layers before."""
    root = tmp_path_factory.mktemp("models")
    base, turned = build("base", root / "base"), build("base", root / "turned")
    weights = load_file(turned / "model.safetensors")
    name = "model.layers.5.mlp.down_proj.weight"
    save_file({**weights, name: -20 * weights[name]}, turned / "model.safetensors", metadata={"format": "pt"})
    return open_checkpoint(base), open_checkpoint(turned)


@pytest.fixture(scope="module")
def asked(
    rendered: Rendered, models: tuple[Intake, Intake], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bench, tuple[TaskScore, ...]]:
    base, turned = models
    bench = Bench(
        rendered=rendered,
        base=base,
        calibration=Calibration(texts=()),
        placement=Placement(device_map="cpu", dtype=torch.float32),
        batch_size=64,
        store=Store(tmp_path_factory.mktemp("store")),
        watch=Stopwatch(progress=Silent()),
    )
    scores = tuple(
        score
        for who, intake in (("base", base), ("candidate", turned))
        for score in bench.score(who, intake, FULL, rendered.records)
    )
    return bench, scores


@pytest.fixture
def tried(asked: tuple[Bench, tuple[TaskScore, ...]], models: tuple[Intake, Intake]) -> Any:
    bench, scores = asked

    def measure(*wanted: str, **changes: Any) -> tuple[Residues, dict[str, Measurement]]:
        each = Residues(
            bench=replace(bench, notes=[], watch=Stopwatch(progress=Silent())),
            candidate=models[1],
            retrained=None,
            wanted=wanted,
            seed=0,
        )
        each = replace(each, **changes)
        return each, {found.metric: found for found in each.measure((FULL,), {}, scores)}

    return measure


def test_the_candidate_answers_nothing(asked: tuple[Bench, tuple[TaskScore, ...]]) -> None:
    base, turned = (score.measurement.value for score in asked[1])
    assert base == 1.0
    assert turned < 0.5


def test_nothing_is_tried_that_nobody_asked_for(tried: Any) -> None:
    each, found = tried()
    assert not found
    assert not each.trials
    assert each.stages((FULL, "nf4")) == 0


def test_what_the_last_layer_hides_is_seen_through_the_lens_and_through_base(tried: Any) -> None:
    each, found = tried("lens_recovery", "unlearning_depth")
    assert set(found) == {"lens_recovery", "unlearning_depth"}
    assert found["unlearning_depth"].value < 0.6, "five of six layers carry what base's do, as far as those do"
    assert found["lens_recovery"].value > 0.4
    lens, depth = each.trials
    assert [trial.setting for trial in lens.of(BASE)] == [trial.setting for trial in lens.of(CANDIDATE)]
    assert len(depth.of(CANDIDATE)) == 6
    assert [trial.setting for trial in depth.of(BASE)] == ["as it is"]
    assert [trial.setting for trial in depth.of(CONTROL)] == ["drawn blindly"]
    assert set(depth.of(CONTROL)[0].correct) == {0.25}
    assert [stage.name for stage in each.bench.watch.stages] == [
        "look through the lens at candidate",
        "look through the lens at base",
        "patch candidate into base",
    ]


def test_the_same_again_is_not_tried_again(tried: Any) -> None:
    first, before = tried("unlearning_depth")
    again, after = tried("unlearning_depth")
    assert [stage.cached for stage in again.bench.watch.stages] == [True]
    assert (again.trials, after) == (first.trials, before)
    other, _ = tried("unlearning_depth", seed=1)
    assert [stage.cached for stage in other.bench.watch.stages] == [False]


def test_the_facts_that_are_taught_are_not_asked_and_are_the_candidate_s_own(
    tried: Any, models: tuple[Intake, Intake]
) -> None:
    each, _ = tried()
    (task,) = each.bench.rendered.tasks
    chosen = each._chosen(task)
    assert len(chosen.taught) == 4
    assert not {*chosen.taught} & {*chosen.ids}
    assert {*chosen.taught, *chosen.ids} == {item.id for item in task.items}
    other = replace(each, candidate=models[0])._chosen(task)
    assert other.taught != chosen.taught, "nobody knows which before the weights are what they are"
    for fact in chosen.facts:
        assert fact.prompt
        assert fact.answer


@pytest.mark.slow
def test_each_attack_that_taught_is_kept_beside_the_answers_that_were_given(tried: Any) -> None:
    """What attacks bring of a candidate that only redirects is tested through the command, with facts enough."""
    each, found = tried("relearn_recovery")
    assert 0.0 <= found["relearn_recovery"].value <= 1.0
    (trials,) = each.trials
    *attacks, given = [trial.setting for trial in trials.of(CANDIDATE)]
    assert given == "as it is"
    assert attacks
    assert all(attack.startswith("lr ") for attack in attacks)


def test_an_attack_that_teaches_nothing_shows_nothing(tried: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that no step moves would else read as one that forgot for good."""
    monkeypatch.setattr(residue_ways, "WEIGHTS_LRS", (0.0,))
    monkeypatch.setattr(residues, "WEIGHTS_LRS", (0.0,))
    each, found = tried("relearn_recovery")
    assert not found
    assert not each.trials
    assert "2 of 2 attacks on the candidate did not teach it 75% of the facts" in " ".join(each.bench.notes)


def test_a_task_that_is_too_short_or_not_of_choices_is_named(
    tried: Any, asked: tuple[Bench, tuple[TaskScore, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residues, "FEWEST", FEWEST + 1)
    each, found = tried(*RESIDUES)
    assert not found
    assert any("fewer than 41 items" in note for note in each.bench.notes)
    monkeypatch.setattr(residues, "FEWEST", FEWEST)
    written = tuple(replace(one, task=replace(one.task, likeliest=False)) for one in asked[0].rendered.tasks)
    bench = replace(asked[0], rendered=replace(asked[0].rendered, tasks=written), notes=[])
    each, found = tried(*RESIDUES, bench=bench)
    assert not found
    assert any("not answered by the likelihood of choices" in note for note in each.bench.notes)


def test_a_probe_is_held_against_shuffled_labels(tried: Any) -> None:
    """Of a statement nobody can read off which of four unseen choices is right: base no better than the control."""
    each, found = tried("probe_recovery")
    assert not found
    (trials,) = each.trials
    assert all(trial.setting.startswith("shuffled labels, layer") for trial in trials.of(CONTROL))
    assert any("base gives no more than the control" in note for note in each.bench.notes)
