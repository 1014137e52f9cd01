"""TOFU's metrics: by hand, and on a model against the slow oracle."""

import math
import runpy
from types import SimpleNamespace

import pytest

from tests.invented_data import tofu, vendor
from tests.oracles import muse_and_tofu_by_hand as oracle
from unlearn_guard.errors import ScoringError
from unlearn_guard.judging.derive import derive
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.answers import Nats
from unlearn_guard.scoring.evaluate import _sample, evaluate, render
from unlearn_guard.scoring.suites import load_suite

UTILS = runpy.run_path(str(bundled("tasks") / "tofu" / "utils.py"))


def choices(*probabilities):
    """Answers of two tokens each, of these probabilities a token."""
    return [(Nats.of((math.log(each), math.log(each))), False) for each in probabilities]


def test_probabilities_by_hand():
    assert UTILS["probability"]({}, choices(0.5))["prob"] == pytest.approx(0.5)
    uneven = [(Nats.of((math.log(0.9), math.log(0.4))), False)]
    assert UTILS["probability"]({}, uneven)["prob"] == pytest.approx(0.6), "the square root of .9 x .4"
    assert UTILS["probability_among"]({}, choices(0.5, 0.25, 0.125, 0.125))["prob"] == pytest.approx(0.5)


def test_truth_ratio_by_hand():
    """Wrong answers of .2 and .05 have the geometric mean .1; the right one has .4."""
    assert UTILS["truth_ratio"]({}, choices(0.4, 0.2, 0.05))["truth_ratio"] == pytest.approx(0.25)
    assert UTILS["truth"]({}, choices(0.4, 0.2, 0.05))["truth"] == pytest.approx(0.75)
    assert UTILS["truth"]({}, choices(0.1, 0.2, 0.2))["truth"] == 0.0


def test_a_ratio_that_no_float_holds_is_a_failed_measurement():
    """Status 3, not a traceback: 800 nats a token apart, as in a destroyed model."""
    answers = [(Nats.of((-900.0,)), False), (Nats.of((-100.0,)), False)]
    requests = [SimpleNamespace(doc={}, filtered_resps={"none": each}, resps=[each]) for each in answers]
    task = SimpleNamespace(process_results=UTILS["truth_ratio"])
    leaf = SimpleNamespace(task=task, metric="truth_ratio", filter="none")
    with pytest.raises(ScoringError, match="could not count the answer: OverflowError"):
        _sample(leaf, SimpleNamespace(id="x-0", prompt="", target=""), requests, "full")


def test_recall_by_hand():
    """With stemming: `cats` and `cat` are one word; 2 of the 4 words of the answer are there, in order."""
    assert UTILS["recall"]({"answer": "two cats lay down"}, ["the cat was down"])["rougeL_recall"] == 0.5


def test_a_missing_paraphrase_is_the_answer_itself():
    doc = {"answer": "a", "perturbed_answer": ["b", "c"]}
    assert UTILS["right_and_wrong"](doc) == ["a", "b", "c"]
    assert UTILS["right_and_wrong"]({**doc, "paraphrased_answer": "p"}) == ["p", "b", "c"]


def test_sums_alone_are_refused():
    with pytest.raises(ValueError, match="run the task with unlearn-guard"):
        UTILS["probability"]({}, [(-3.5, False)])


@pytest.fixture(scope="module")
def rendered_tofu(tmp_path_factory):
    return render(load_suite("tofu"), data_dir=vendor(tmp_path_factory.mktemp("data"), "tofu", items=7))


@pytest.fixture(scope="module")
def scores(rendered_tofu, scoring):
    """Every task of the suite on a random model, and on another as the retrained one."""
    tokenizer = scoring.make_tokenizer()
    models = {
        "base": scoring.make_model(),
        "candidate": scoring.make_model("qwen2"),
        "retrained": scoring.make_model("gpt2"),
    }
    return {
        (subject, score.task.name): score
        for subject, model in models.items()
        for score in evaluate(rendered_tofu, model, tokenizer, subject=subject, precision="full")
    }


def nats(model, tokenizer, question, answer):
    head = tokenizer(f"Question: {question}\nAnswer:")["input_ids"]
    whole = tokenizer(f"Question: {question}\nAnswer: {answer}")["input_ids"]
    return oracle.token_nats(model, whole, len(head))


@pytest.mark.parametrize("name", ["forget10", "retain", "real_authors"])
def test_a_models_numbers_equal_the_oracle(scores, scoring, name):
    tokenizer, model = scoring.make_tokenizer(), scoring.make_model("qwen2")
    for index, row in enumerate(tofu(7)[f"{name}_perturbed", "train"][:2]):
        said = {
            answer: nats(model, tokenizer, row["question"], answer)
            for answer in (row["answer"], *row["perturbed_answer"])
        }
        right = said[row["answer"]]
        if "paraphrased_answer" in row:
            right = nats(model, tokenizer, row["question"], row["paraphrased_answer"])
        wrong = [said[answer] for answer in row["perturbed_answer"]]
        ratio = oracle.truth_ratio(right, wrong)
        share = oracle.probability(said[row["answer"]])
        if name == "real_authors":
            share /= share + sum(map(oracle.probability, wrong))
        kind, expected = ("truth_ratio", ratio) if name == "forget10" else ("truth", max(0.0, 1.0 - ratio))
        found = {task: scores["candidate", f"tofu_{name}_{task}"].samples[index] for task in (kind, "prob", "rouge")}
        assert found[kind].correct == pytest.approx(expected, rel=1e-4)
        assert found["prob"].correct == pytest.approx(share, rel=1e-4)
        assert found["rouge"].correct == pytest.approx(oracle.rouge_l(row["answer"], found["rouge"].text)[1])


def test_the_suite_gives_utility_and_forget_quality(scores):
    found = {
        (each.subject, each.metric): each
        for each in derive(list(scores.values()), base="base", candidate="candidate", seed=0, retrained="retrained")
        if each.metric in ("model_utility", "forget_quality", "forget_truth_ratio")
    }
    nine = [
        score for (who, name), score in scores.items() if who == "candidate" and score.task.measure == "model_utility"
    ]
    assert len(nine) == 9
    values = [score.measurement.value for score in nine]
    expected = 9 / sum(1 / value for value in values) if min(values) > 0 else 0.0
    assert found["candidate", "model_utility"].value == pytest.approx(expected)
    ratios = {
        who: [sample.correct for sample in scores[who, "tofu_forget10_truth_ratio"].samples]
        for who in ("candidate", "retrained")
    }
    assert found["candidate", "forget_quality"].value == pytest.approx(oracle.ks_p(*ratios.values()))
    closer = [min(ratio, 1 / ratio) for ratio in ratios["candidate"]]
    assert found["candidate", "forget_truth_ratio"].value == pytest.approx(sum(closer) / len(closer))


def test_only_the_first_300_rows_are_asked(tmp_path):
    suite = load_suite("tofu")
    rendered = render(suite, data_dir=vendor(tmp_path, "tofu", items=301))
    assert {task.items for task in rendered.records} == {300}
