"""Which calibration counts, and what is kept of the others; the models are made up."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.oracles.made_scores import BASE, CANDIDATE, made_score, made_task, ones
from unlearn_guard.checking import worst_calibration
from unlearn_guard.checking.worst_calibration import WorstCalibration
from unlearn_guard.records import Role

FORGET, PLAIN, KEPT = made_task(10), made_task(10, "plain"), made_task(10, "kept", Role.RETAIN)
SCORES = (
    made_score(FORGET, ones(9, 10), BASE),
    made_score(FORGET, ones(1, 10)),
    made_score(PLAIN, ones(1, 10)),
    made_score(FORGET, ones(2, 10), precision="gptq"),
    made_score(PLAIN, ones(3, 10), precision="gptq"),
    made_score(KEPT, ones(9, 10), precision="gptq"),
)


@pytest.fixture
def worst(monkeypatch: pytest.MonkeyPatch) -> WorstCalibration:
    """Calibrated on the forget text 6 and 0 of 10 come back, on what should stay 1 and 3."""

    def answer(self: Any, precision: str, names: Any) -> Any:
        for name, right in (("retain", (1, 3)), ("forget", (6, 0))):
            for task, count in zip((FORGET, PLAIN), right, strict=True):
                yield name, made_score(task, ones(count, 10), precision=precision)

    monkeypatch.setattr(WorstCalibration, "_ask", answer)
    monkeypatch.setattr(worst_calibration, "quantizer", lambda name: SimpleNamespace(calibrated=name == "gptq"))
    bench: Any = SimpleNamespace(notes=[])
    candidate: Any = SimpleNamespace(checkpoint=SimpleNamespace(digest=CANDIDATE))
    return WorstCalibration(bench=bench, candidate=candidate, asked="worst")


def test_each_task_counts_what_brings_most_of_it_back(worst: WorstCalibration) -> None:
    found, spreads = worst.measure(["full", "gptq"], {}, SCORES)
    values = {(each.task.name, each.precision, each.subject): each.measurement.value for each in found}
    assert values["forget_task", "gptq", CANDIDATE] == 0.6
    assert values["plain", "gptq", CANDIDATE] == 0.3  # the suite's own: of equals the first
    assert values["kept", "gptq", CANDIDATE] == 0.9
    assert (values["forget_task", "full", BASE], values["forget_task", "full", CANDIDATE]) == (0.9, 0.1)
    assert [(each.task, each.worst) for each in worst.found] == [("forget_task", "forget"), ("plain", "suite")]
    assert [each.value for each in spreads] == [0.5, 0.3]
    assert "forget_task at gptq: of 3 calibrations 'forget' brings most back, and counts" in worst.bench.notes[0]


def test_the_others_are_kept_under_names_of_their_own(worst: WorstCalibration) -> None:
    worst.measure(["full", "gptq"], {}, SCORES)
    kept = [(each.task.name, each.precision, each.measurement.precision) for each in worst.scores]
    assert kept == [
        *(("forget_task", name, name) for name in ("gptq-on-suite", "gptq-on-retain")),
        *(("plain", name, name) for name in ("gptq-on-retain", "gptq-on-forget")),
    ]


def test_a_ready_made_model_keeps_its_own_and_is_told(worst: WorstCalibration) -> None:
    artifact: Any = object()
    found, spreads = worst.measure(["full", "gptq"], {"gptq": artifact}, SCORES)
    assert (found, spreads, worst.found) == (SCORES, (), [])
    assert worst.bench.notes == ["calibration: no precision of this run is calibrated by the guard, so none is worst"]


def test_the_suite_s_own_texts_ask_nothing_more(worst: WorstCalibration) -> None:
    worst.asked = "suite"
    assert worst.measure(["full", "gptq"], {}, SCORES) == (SCORES, ())
    assert worst.stages(["full", "gptq"], {}) == 0
    assert worst.bench.notes == []
