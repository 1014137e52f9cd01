"""Our LM answers what lm-eval's own HFLM answers, item by item and choice by choice."""

from dataclasses import replace

import pytest
from lm_eval.models.huggingface import HFLM

from tests.oracles import one_answer_at_a_time as oracle
from unlearn_guard.scoring.evaluate import evaluate
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens

TOLERANCE = {"abs": 1e-5, "rel": 5e-7}
"""Nats; the relative part is four roundings of fp32, in which HFLM adds up a long continuation."""


def requests(rendered, name):
    (task,) = (each for each in rendered.tasks if each.task.name == name)
    return [replace(request, resps=[]) for item in task.items for request in item.requests]


def ours(model, tokenizer, batch_size):
    return GuardLM(model, Tokens(tokenizer), batch_size=batch_size, precision="full")


def theirs(model, tokenizer, batch_size=4, **options):
    return HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size, device="cpu", **options)


def assert_same_answers(found, expected):
    assert len(found) == len(expected)
    for (likelihood, greedy), (reference, reference_greedy) in zip(found, expected, strict=True):
        assert likelihood == pytest.approx(reference, **TOLERANCE)
        assert greedy == reference_greedy


@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no bos"])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("task", ["invented_lettered", "invented_worded"])
def test_loglikelihoods_equal_hflm(rendered, scoring, model, task, batch_size, bos):
    tokenizer = scoring.make_tokenizer(bos=bos)
    asked = requests(rendered, task)
    reference = theirs(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
    assert_same_answers(ours(model, tokenizer, batch_size).loglikelihood(asked), reference)


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
@pytest.mark.parametrize("task", ["invented_lettered", "invented_worded"])
def test_loglikelihoods_equal_hflm_for_other_families(rendered, scoring, tokenizer, family, task):
    model = scoring.make_model(family)
    asked = requests(rendered, task)
    reference = theirs(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
    assert_same_answers(ours(model, tokenizer, 5).loglikelihood(asked), reference)


@pytest.mark.parametrize("task", ["invented_lettered", "invented_worded"])
def test_loglikelihoods_equal_the_literal_oracle(rendered, model, tokenizer, task):
    asked = requests(rendered, task)[:24]
    expected = [oracle.loglikelihood(model, tokenizer, *request.args) for request in asked]
    assert_same_answers(ours(model, tokenizer, 7).loglikelihood(asked), expected)


def test_the_oracle_tells_a_position_off_by_one(rendered, model, tokenizer, monkeypatch):
    """A mutation: scoring one position early is seen by the comparison above."""
    from unlearn_guard.scoring import forward

    right = forward.Forward.logits
    monkeypatch.setattr(
        forward.Forward, "logits", lambda self, rows, keep: right(self, [[0, *row[:-1]] for row in rows], keep)
    )
    asked = requests(rendered, "invented_lettered")[:8]
    expected = [oracle.loglikelihood(model, tokenizer, *request.args) for request in asked]
    found = ours(model, tokenizer, 7).loglikelihood(asked)
    assert all(abs(one - other) > 1e-3 for (one, _), (other, _) in zip(found, expected, strict=True))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no bos"])
def test_generated_texts_equal_hflm(rendered, scoring, model, batch_size, bos):
    tokenizer = scoring.make_tokenizer(bos=bos)
    asked = requests(rendered, "invented_written")
    found = ours(model, tokenizer, batch_size).generate_until(asked)
    assert found == theirs(model, tokenizer).generate_until(asked, disable_tqdm=True)
    assert len(set(found)) > 5, "the texts must differ, or the comparison says nothing"
    assert not any("e" in text for text in found)


def test_generated_texts_equal_the_literal_oracle(rendered, model, tokenizer):
    asked = requests(rendered, "invented_written")[:8]
    expected = [oracle.greedy_text(model, tokenizer, request.args[0], ["e"], 12) for request in asked]
    assert ours(model, tokenizer, 3).generate_until(asked) == expected


@pytest.mark.parametrize("length", [512, 20])
def test_rolling_loglikelihoods_equal_hflm(rendered, scoring, tokenizer, length):
    """In one window, and in several where the model is shorter than the text; with one BOS before it, not two."""
    model = scoring.make_model(length=length)
    texts = [request.args[0] for request in requests(rendered, "invented_worded")[:8]]
    asked = [replace(requests(rendered, "invented_worded")[0], arguments=(text,)) for text in texts]
    reference = theirs(model, tokenizer, 1, add_bos_token=False).loglikelihood_rolling(asked, disable_tqdm=True)
    assert ours(model, tokenizer, 3).loglikelihood_rolling(asked) == pytest.approx(reference, abs=1e-4)


def test_contexts_that_are_too_long_are_cut_as_hflm_cuts_them_and_counted(rendered, scoring, tokenizer):
    model = scoring.make_model(length=40)
    asked = requests(rendered, "invented_lettered")
    reference = theirs(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
    lm = ours(model, tokenizer, 6)
    assert_same_answers(lm.loglikelihood(asked), reference)
    assert lm.truncated == {f"item invented_lettered-{number}" for number in range(len(asked) // 4)}


def test_prompts_that_leave_no_room_to_write_are_cut_as_hflm_cuts_them(rendered, scoring, tokenizer):
    model = scoring.make_model(length=24)
    asked = requests(rendered, "invented_written")
    lm = ours(model, tokenizer, 6)
    assert lm.generate_until(asked) == theirs(model, tokenizer).generate_until(asked, disable_tqdm=True)
    assert 0 < len(lm.truncated) <= len(asked)


@pytest.mark.parametrize(
    ("context", "continuation"),
    [("What is", " amber"), ("What is ", "amber"), ("", " amber"), ("", "amber cedar"), ("<s>What is", " kelp")],
)
@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no bos"])
def test_any_pair_is_split_as_hflm_splits_it(rendered, scoring, model, context, continuation, bos):
    tokenizer = scoring.make_tokenizer(bos=bos)
    asked = [replace(requests(rendered, "invented_worded")[0], arguments=(context, continuation))]
    reference = theirs(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
    assert_same_answers(ours(model, tokenizer, 1).loglikelihood(asked), reference)


def test_accuracies_equal_lm_evals_own_run(rendered, model, tokenizer):
    """lm_eval.evaluate with HFLM, and our evaluate, on the same tasks: the same metrics and the same right answers."""
    from lm_eval.evaluator import evaluate as reference_run

    tasks = {each.task.name: each.leaves[0].task for each in rendered.tasks}
    reference = reference_run(lm=theirs(model, tokenizer), task_dict={"tasks": tasks}, bootstrap_iters=10)
    for score in evaluate(rendered, model, tokenizer, subject="x", precision="full", batch_size=8):
        metric, name = score.task.metric, score.task.name
        assert score.measurement.value == pytest.approx(reference["results"][name][f"{metric},none"], abs=1e-12)
        stderr = reference["results"][name][f"{metric}_stderr,none"]
        assert score.measurement.stderr == pytest.approx(stderr, abs=1e-12)
        logged = sorted(reference["samples"][name], key=lambda sample: sample["doc_id"])
        assert [sample.correct for sample in score.samples] == [each[metric] for each in logged]
