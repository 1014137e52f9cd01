"""Every item gets one answer, every answer is a number, and whatever breaks that is an error, never a score."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from unlearn_guard.errors import ExitStatus, NonFiniteError, ScoringError, UsageError
from unlearn_guard.scoring import evaluate as evaluate_module
from unlearn_guard.scoring.evaluate import evaluate
from unlearn_guard.scoring.lm import GuardLM


def ask(rendered, model, tokenizer, **options):
    return evaluate(rendered, model, tokenizer, **{"subject": "s", "precision": "full", "batch_size": 8, **options})


@pytest.fixture
def damaged(scoring):
    """A model of one's own, to break."""
    return scoring.make_model()


def test_a_score_holds_every_item_and_its_mean(rendered, model, tokenizer):
    lettered, worded, written = ask(rendered, model, tokenizer, subject="abc", precision="nf4")
    assert (lettered.subject, lettered.precision, lettered.measurement.name) == (
        "abc",
        "nf4",
        "acc[invented_lettered-nf4]",
    )
    assert [sample.id for sample in lettered.samples] == [item.id for item in rendered.tasks[0].items]
    for score in (lettered, worded, written):
        values = torch.tensor([sample.correct for sample in score.samples], dtype=torch.float64)
        assert score.measurement.value == pytest.approx(float(values.mean()), abs=1e-12)
        assert score.measurement.stderr == pytest.approx(float(values.std() / len(values) ** 0.5), abs=1e-12)
    assert len(lettered.samples[0].loglikelihoods) == 4
    assert written.samples[0].loglikelihoods is None
    assert isinstance(written.samples[0].text, str)


def test_a_right_letter_is_the_likeliest(rendered, model, tokenizer):
    """By hand: an item counts exactly when its target has the largest of its four log-likelihoods."""
    (lettered,) = ask(rendered, model, tokenizer, tasks=["invented_lettered"])
    for sample in lettered.samples:
        likeliest = max(range(4), key=lambda choice: sample.loglikelihoods[choice])
        assert sample.correct == float(likeliest == int(sample.target))


def test_a_sample_carries_the_hash_of_its_prompt_and_not_the_text(rendered, model, tokenizer):
    (lettered,) = ask(rendered, model, tokenizer, tasks=["invented_lettered"])
    requests = rendered.tasks[0].items[0].requests
    text = json.dumps([["loglikelihood", *request.args] for request in requests])
    assert lettered.samples[0].prompt == hashlib.sha256(text.encode()).hexdigest()
    assert "What is" not in repr(lettered.samples)


def test_the_batch_size_does_not_move_a_score(rendered, model, tokenizer):
    alone = ask(rendered, model, tokenizer, batch_size=1)
    for batch_size in (2, 7, 64):
        for one, other in zip(alone, ask(rendered, model, tokenizer, batch_size=batch_size), strict=True):
            assert one.measurement == other.measurement
            for first, second in zip(one.samples, other.samples, strict=True):
                assert first.text == second.text
                if first.loglikelihoods is not None:
                    assert first.loglikelihoods == pytest.approx(second.loglikelihoods, abs=1e-5, rel=5e-7)


def test_asking_twice_gives_the_same_to_the_last_bit(rendered, model, tokenizer):
    assert ask(rendered, model, tokenizer) == ask(rendered, model, tokenizer)
    assert all(not request.resps for each in rendered.tasks for item in each.items for request in item.requests)


def test_a_second_load_of_the_tokenizer_shares_the_ids(rendered, scoring, tokenizer):
    assert rendered.tokens(scoring.make_tokenizer()) is rendered.tokens(tokenizer)
    assert rendered.tokens(scoring.make_tokenizer(bos=False)) is not rendered.tokens(tokenizer)


def test_two_models_are_not_given_each_others_answers(rendered, model, tokenizer, scoring):
    other = scoring.make_model()
    with torch.no_grad():
        other.lm_head.weight.neg_()
    assert ask(rendered, model, tokenizer)[0].samples != ask(rendered, other, tokenizer)[0].samples


def test_progress_ends_at_the_number_of_requests(rendered, model, tokenizer):
    seen = []
    ask(rendered, model, tokenizer, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (23 * 4 + 23 * 4 + 23,) * 2
    assert seen == sorted(seen)


def test_only_the_named_tasks_are_asked(rendered, model, tokenizer):
    (score,) = ask(rendered, model, tokenizer, tasks=["invented_worded"])
    assert score.task.name == "invented_worded"
    with pytest.raises(UsageError, match="Did you mean invented_worded"):
        ask(rendered, model, tokenizer, tasks=["invented_wordy"])
    with pytest.raises(UsageError):
        ask(rendered, model, tokenizer, tasks=[])


def test_contexts_that_lost_their_beginning_are_told(rendered, tokenizer, scoring):
    notes = []
    (score,) = ask(rendered, scoring.make_model(length=40), tokenizer, tasks=["invented_lettered"], note=notes.append)
    assert len(notes) == 1
    assert "invented_lettered at full: 23 items were longer than the 40 tokens" in notes[0]
    assert score.truncated == 23


@pytest.mark.parametrize("task", ["invented_lettered", "invented_worded", "invented_written"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_an_error_and_never_a_score(rendered, damaged, tokenizer, task, value):
    with torch.no_grad():
        damaged.model.layers[1].mlp.down_proj.weight[0, 0] = value
    with pytest.raises(NonFiniteError, match=rf"precision gptq.*item {task}-\d+") as caught:
        ask(rendered, damaged, tokenizer, tasks=[task], precision="gptq")
    assert caught.value.exit_status is ExitStatus.MEASURING_FAILED


def test_one_poisoned_token_is_found_in_the_item_that_holds_it(rendered, damaged, tokenizer):
    item = rendered.tasks[0].items[4]
    own = set(tokenizer(item.requests[0].args[0])["input_ids"])
    others = [set(tokenizer(each.requests[0].args[0])["input_ids"]) for each in rendered.tasks[0].items if each != item]
    poisoned = own - set().union(*others)
    if not poisoned:
        poisoned = own
    with torch.no_grad():
        damaged.model.embed_tokens.weight[min(poisoned)] = float("nan")
    with pytest.raises(NonFiniteError, match="invented_lettered"):
        ask(rendered, damaged, tokenizer, tasks=["invented_lettered"])


class Masked(torch.nn.Module):
    """A head that gives some tokens a probability of zero."""

    def __init__(self, head, tokens):
        super().__init__()
        self.head, self.tokens = head, tokens

    def forward(self, hidden):
        logits = self.head(hidden)
        logits[..., self.tokens] = float("-inf")
        return logits


def test_a_masked_choice_has_probability_zero(rendered, damaged, tokenizer):
    letters = [tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][0] for letter in "ABCD"]
    damaged.lm_head = Masked(damaged.lm_head, letters[1:2])
    (score,) = ask(rendered, damaged, tokenizer, tasks=["invented_lettered"])
    assert all(sample.loglikelihoods[1] == float("-inf") for sample in score.samples)
    assert all(sample.correct == 0.0 for sample in score.samples if sample.target == "1")
    damaged.lm_head.tokens = letters
    with pytest.raises(NonFiniteError, match="every choice has probability zero"):
        ask(rendered, damaged, tokenizer, tasks=["invented_lettered"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda logits: logits[:, :, :-1] if logits.shape[0] < 8 else logits,
        lambda logits: logits[:1],
        lambda logits: logits.repeat(1, 2, 1),
        lambda logits: logits[:, 0],
        lambda logits: None,
    ],
    ids=["a narrower vocabulary midway", "a row too few", "a position too many", "a dimension too few", "nothing"],
)
def test_logits_of_another_shape_are_an_error(rendered, damaged, tokenizer, spoil):
    right = damaged.forward

    def forward(input_ids, attention_mask, position_ids, use_cache, logits_to_keep):
        output = right(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )
        output.logits = spoil(output.logits)
        return output

    damaged.forward = forward
    with pytest.raises(ScoringError, match="the model returned logits"):
        ask(rendered, damaged, tokenizer, tasks=["invented_lettered"])


def test_a_model_without_logits_to_keep_scores_the_same(rendered, damaged, model, tokenizer):
    right = damaged.forward
    damaged.forward = lambda input_ids, attention_mask: right(input_ids=input_ids, attention_mask=attention_mask)
    found = ask(rendered, damaged, tokenizer, tasks=["invented_worded"])[0]
    expected = ask(rendered, model, tokenizer, tasks=["invented_worded"])[0]
    assert found.measurement == expected.measurement


def test_a_tokenizer_larger_than_the_models_vocabulary_is_an_error(rendered, scoring, tokenizer):
    small = scoring.make_model(vocabulary=290)
    with pytest.raises(ScoringError, match="the tokenizer has 300 tokens, the logits only 290"):
        # Ids that do exist in the small model, so that nothing else stops it.
        GuardLM(small, rendered.tokens(tokenizer), batch_size=4, precision="full")._loglikelihood_tokens(
            [(None, (0, 5, 6), (7,))]
        )


@pytest.mark.parametrize("count", [-1, 1])
def test_missing_and_extra_answers_are_an_error(rendered, model, tokenizer, monkeypatch, count):
    right = GuardLM.loglikelihood
    change = (lambda answers: answers[:-1]) if count < 0 else (lambda answers: [*answers, answers[0]])
    monkeypatch.setattr(GuardLM, "loglikelihood", lambda self, requests: change(right(self, requests)))
    with pytest.raises(ScoringError, match=f"{92 + count} answers to 92"):
        ask(rendered, model, tokenizer, tasks=["invented_lettered"])


def test_an_item_twice_is_an_error(rendered, model, tokenizer):
    lettered = rendered.tasks[0]
    leaf = lettered.leaves[0]
    doubled = replace(leaf, items=(*leaf.items[:-1], leaf.items[0]))
    twice = replace(rendered, tasks=(replace(lettered, leaves=(doubled,)),))
    with pytest.raises(ScoringError, match="one each"):
        ask(twice, model, tokenizer)


def test_an_aggregate_that_is_not_the_mean_is_an_error(rendered, model, tokenizer, monkeypatch):
    task = rendered.tasks[0].leaves[0].task
    monkeypatch.setitem(task.aggregation(), "acc", lambda values: sum(values) / len(values) + 1e-6)
    with pytest.raises(ScoringError, match="aggregates acc"):
        ask(rendered, model, tokenizer, tasks=["invented_lettered"])


def test_a_task_whose_own_code_fails_is_named_with_the_item(rendered, model, tokenizer, monkeypatch):
    task = rendered.tasks[0].leaves[0].task
    monkeypatch.setattr(task, "process_results", lambda document, results: {}["acc"])
    with pytest.raises(ScoringError, match="item invented_lettered-0 at full"):
        ask(rendered, model, tokenizer, tasks=["invented_lettered"])


def test_one_item_has_no_standard_error():
    assert evaluate_module._stderr([1.0]) is None
    # By hand: mean 3/4, deviations 1/16 three times and 9/16, over n - 1 = 3 and n = 4.
    assert evaluate_module._stderr([1, 1, 1, 0]) == pytest.approx((0.75 / 3 / 4) ** 0.5)


def test_decoding_options_of_the_checkpoint_are_not_used(rendered, damaged, model, tokenizer):
    damaged.generation_config.suppress_tokens = list(range(3, 200))
    damaged.generation_config.repetition_penalty = 5.0
    found = ask(rendered, damaged, tokenizer, tasks=["invented_written"])
    assert found[0].samples == ask(rendered, model, tokenizer, tasks=["invented_written"])[0].samples
    assert damaged.generation_config.repetition_penalty == 5.0
