"""A public log's numbers and a run's: which may stand side by side, and what is said of the others."""

import json
import re
from dataclasses import replace

import pytest

from tests.oracles.made_scores import CANDIDATE, made_run
from tests.oracles.public_logs import TOFU_SUMMARY, tofu_eval
from unlearn_guard.comparing.public_log import COUNTERPARTS, NONE, pair, read_log
from unlearn_guard.errors import ExitStatus, UsageError
from unlearn_guard.records import Measurement
from unlearn_guard.scoring.suites import load_suite

OURS = {
    ("prob", "tofu_forget10_prob_all_chat"): 0.2,
    ("rougeL_recall", "tofu_forget10_rouge_all_chat"): 0.4,
    ("extraction_strength", "tofu_forget10_extraction_strength_chat"): 0.1,
    ("mia_auc", "tofu_forget10_mia_loss_chat"): 0.5,
    ("model_utility", "suite"): 0.55,
    ("forget_truth_ratio", "tofu_forget10_truth_ratio_all_chat"): 0.7,
    ("prob", "tofu_real_authors_prob_chat"): 0.4,
}


def run_with(values, **more):
    run, _ = made_run()
    made = [
        Measurement(subject=subject, precision=precision, task=task, metric=metric, value=value + off, samples=400)
        for (metric, task), value in values.items()
        for subject, precision, off in (
            (CANDIDATE, "full", 0.0),
            (CANDIDATE, "nf4", 0.3),
            (run.base.digest, "full", 0.4),
        )
    ]
    return replace(run, measurements=tuple(made), **more)


@pytest.fixture
def written(tmp_path):
    def write(content, name="TOFU_EVAL.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("log", [TOFU_SUMMARY, tofu_eval()], ids=["summary", "evaluation"])
def test_each_number_stands_beside_the_candidates_own_in_full_precision(log, written):
    found = pair(read_log(written(log)), run_with(OURS))
    values = {each.public.name: (each.public.value, each.ours.value) for each in found.beside}
    assert values == {
        "forget_Q_A_Prob": (0.11, 0.2),
        "forget_Q_A_ROUGE": (0.38, 0.4),
        "extraction_strength": (0.06, 0.1),
        "mia_loss": (0.39, 0.5),
        "model_utility": (0.59, 0.55),
        "forget_truth_ratio": (0.63, 0.7),
        "ra_Q_A_Prob_normalised": (0.39, 0.4),
    }
    by_name = {each.public.name: each for each in found.beside}
    assert by_name["forget_Q_A_Prob"].difference == pytest.approx(0.09)
    assert not any(each.note for each in found.beside)
    assert {public.name for public, _ in found.alone} == set(TOFU_SUMMARY) - set(values)


def test_what_has_no_counterpart_says_why(written):
    found = pair(read_log(written(TOFU_SUMMARY | {"of_their_own": 1.0, "mmlu/acc": 0.4})), run_with(OURS))
    told = {public.name: why for public, why in found.alone}
    assert "gradient" in told["mia_gradnorm"]
    assert "classifier" in told["forget_Q_A_gibberish"]
    assert "normalised" in told["ra_Q_A_Prob"]
    assert told["of_their_own"] == "the guard has no such number"
    assert told["mmlu/acc"] == "this run has no acc of mmlu"
    assert told["exact_memorization"] == "this run has no exact_memorization of tofu_forgetNN_exact_memorization"
    assert told["forget_quality"] == "this run has no forget_quality of tofu_forgetNN_truth_ratio"
    assert "muse_news|books_privleak" in told["privleak"], "TOFU's privleak there is another number"


def test_what_keeps_two_apart_is_noted(written):
    """Another number of items, words that no table has, a number that the log lacks."""
    ours = run_with({("prob", "tofu_forget10_prob"): 0.2, ("forget_quality", "tofu_forget10_truth_ratio_chat"): 0.5})
    first, second = pair(read_log(written(tofu_eval(items=300))), ours).beside
    assert first.note == "300 items there, 400 here; asked here in words of no public table"
    assert (second.note, second.difference) == ("no number there", None)


def test_an_lm_eval_summary_stands_beside_the_task_of_its_name(written):
    found = pair(
        read_log(written({"wmdp_bio/acc": 0.26})), run_with({("acc", "wmdp_bio"): 0.3, ("acc", "wmdp_bio2"): 1})
    )
    assert [(each.ours.task, each.public.value) for each in found.beside] == [("wmdp_bio", 0.26)]


def test_an_entry_that_is_no_number_is_named_and_the_others_are_read(written):
    log = '{"a": NaN, "forget_Q_A_Prob": 0.5, "b": {"x": 1}, "c": "high", "d": true, "e": 1e999}'
    found = pair(read_log(written(log)), run_with(OURS))
    assert [each.public.value for each in found.beside] == [0.5]
    told = {public.name: (public.value, why) for public, why in found.alone}
    assert told["a"] == (None, "the guard has no such number")
    assert told["e"] == (None, "the guard has no such number")
    assert told["b"][1] == "an object of x, which is no number"
    assert told["c"][1] == "'high', which is no number"
    assert told["d"][1] == "True, which is no number"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("", "is no JSON"),
        ("[1]", "holds a list"),
        ("{}", "holds an empty object"),
        ('{"verdict": "passed", "checks": []}', "is no log of open-unlearning"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_that_is_no_log_is_refused_by_name(content, said, written):
    with pytest.raises(UsageError, match=r"TOFU_EVAL\.json") as caught:
        read_log(written(content))
    assert said in str(caught.value)
    assert "Give open-unlearning's" in str(caught.value)
    assert caught.value.exit_status is ExitStatus.USAGE


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json cannot be read"):
        read_log(tmp_path / "none.json")


def test_every_counterpart_is_a_task_of_a_shipped_suite():
    """The patterns name tasks that there are, and no name is both paired and without a pair."""
    suites = [load_suite(name) for name in ("tofu", "tofu-open-unlearning", "muse-news", "muse-books")]
    tasks = {spec.name for suite in suites for spec in (*suite.tasks,)} | {"suite"}
    for name, (_, task) in COUNTERPARTS.items():
        assert any(re.fullmatch(task, each) for each in tasks), name
    assert not NONE.keys() & COUNTERPARTS.keys()
