"""What open-unlearning reports of TOFU beside TOFU's own: by hand, on a model against the slow oracle, and stored."""

import math
import runpy
import zlib
from types import SimpleNamespace

import pytest
import torch

from tests.invented_data import tofu, vendor
from tests.oracles import open_unlearning_by_hand as oracle
from tests.scoring.test_chat import TEMPLATE
from unlearn_guard.errors import ScoringError
from unlearn_guard.judging.derive import derive
from unlearn_guard.records import Role
from unlearn_guard.resources import bundled
from unlearn_guard.scoring import stored_answers
from unlearn_guard.scoring.answers import Nats
from unlearn_guard.scoring.elsewhere import Elsewhere
from unlearn_guard.scoring.evaluate import ask, count, render
from unlearn_guard.scoring.forward import _standard
from unlearn_guard.scoring.suites import load_suite

UTILS = runpy.run_path(str(bundled("tasks") / "tofu" / "open_unlearning.py"))
ROWS = tofu(7)
ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus")


def answer(tokens, hits=None, standard=None):
    return [(Nats.of(tuple(tokens), hits and tuple(hits), standard and tuple(standard)), False)]


@pytest.mark.parametrize(
    ("hits", "strength", "memorized"),
    [
        ([True, False, True, True], 0.5, 0.75),
        ([True, True, True, True], 1.0, 1.0),
        ([False, False, False, True], 0.25, 0.25),
        ([True, True, True, False], 0.25, 0.75),
        ([False, False, False, False], 0.25, 0.0),
    ],
)
def test_memorization_by_hand(hits, strength, memorized):
    """Four tokens and the end of text, which does not count. After two of `.x..` the rest comes by itself."""
    said = answer([-1.0] * 5, [*hits, False], [0.0] * 5)
    assert UTILS["extraction_strength"]({}, said) == {"extraction_strength": strength}
    assert UTILS["exact_memorization"]({}, said) == {"exact_memorization": memorized}


def test_attacks_by_hand():
    """Of five tokens before the end two are the 40 %: -5 and -3; the mean loss has the end too."""
    said = answer([-1.0, -5.0, -2.0, -3.0, -0.5, -0.5], [True] * 6, [0.5, -2.0, 1.0, -1.0, 0.0, -9.0])
    assert UTILS["loss"]({}, said) == {"loss": 2.0}
    assert UTILS["compressed"]({"answer": "aaaa"}, said) == {"zlib": 2.0 / len(zlib.compress(b"aaaa"))}
    assert UTILS["min_k"]({}, said) == {"min_k": 4.0}
    assert UTILS["min_k_plus_plus"]({}, said) == {"min_k_plus_plus": 1.5}


def test_a_standardised_likelihood_by_hand():
    """Probabilities 1/2, 1/4, 1/4, and one token ruled out: the mean of log2 p is -1.5, the variance 1/4."""
    logits = torch.tensor([[math.log(0.5), math.log(0.25), math.log(0.25), -math.inf]])
    found = _standard(logits, logits.logsumexp(-1), [0, 0], [0, 1])
    assert found == pytest.approx([1.0, -1.0], abs=1e-5)
    sure = torch.tensor([[0.0, -40.0, -40.0, -40.0]])
    assert _standard(sure, sure.logsumexp(-1), [0], [1])[0] == pytest.approx(-40 / 1e-3, rel=1e-4)


def test_a_model_class_that_gives_only_sums_is_refused():
    with pytest.raises(ValueError, match="run the task with unlearn-guard"):
        UTILS["loss"]({}, [(-3.5, False)])
    with pytest.raises(ValueError, match="`likeliest` of each token"):
        UTILS["exact_memorization"]({}, answer([-1.0, -1.0]))


@pytest.fixture(scope="module")
def chatty(scoring):
    tokenizer = scoring.make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, chatty):
    data = vendor(tmp_path_factory.mktemp("data"), "tofu-open-unlearning", items=7)
    return render(load_suite("tofu-open-unlearning"), data_dir=data, tokenizer=chatty)


@pytest.fixture(scope="module")
def said(rendered, chatty, scoring):
    """Every probe of the suite, asked of a random model and of another as the retrained one."""
    probes = [each.task.name for each in rendered.tasks if each.task.role is Role.PROBE]
    return {
        (subject, each.task.task.name): each
        for subject, model in (("candidate", scoring.make_model("qwen2")), ("retrained", scoring.make_model("gpt2")))
        for each in ask(rendered, model, chatty, precision="full", tasks=probes)
    }


def scored(rendered, said, *subjects):
    return [
        count(each.task, each.answers, subject=subject, precision="full", seed=rendered.seed)
        for (subject, _), each in said.items()
        if subject in subjects
    ]


def test_a_models_numbers_equal_the_oracle(rendered, said, chatty, scoring):
    model = scoring.make_model("qwen2")
    found = {score.task.name: score for score in scored(rendered, said, "candidate")}
    for index, row in enumerate(ROWS["forget10_perturbed", "train"][:2]):
        (request,) = next(t for t in rendered.tasks if "extraction" in t.task.name).items[index].requests
        head, tail = rendered.tokens(chatty).pairs([request.args])[0]
        tokens = list(tail)
        assert tokens[-1] == chatty.eos_token_id
        made = oracle.distributions(model, [*head, *tokens], len(head))
        whole = oracle.loss(made, tokens)
        standard = [oracle.standard(each, token) for each, token in zip(made, tokens, strict=True)]
        nats = [math.log(each[token]) for each, token in zip(made, tokens, strict=True)]
        expected = {
            "extraction_strength_chat": oracle.extraction_strength(made[:-1], tokens[:-1]),
            "exact_memorization_chat": oracle.exact_memorization(made[:-1], tokens[:-1]),
            "mia_loss_chat": whole,
            "mia_zlib_chat": oracle.compressed(whole, row["answer"]),
            "mia_min_k_chat": oracle.least(nats[:-1]),
            "mia_min_k_plus_plus_chat": oracle.least(standard[:-1]),
        }
        for name, value in expected.items():
            sample = found[f"tofu_forget10_{name}"].samples[index]
            assert sample.correct == pytest.approx(value, rel=1e-3), name


def test_the_attacks_have_two_sides_and_an_area_each(rendered, said):
    """By sklearn, in open-unlearning's direction: 1 where forgotten texts are better known than those held out."""
    from sklearn.metrics import roc_auc_score

    scores = scored(rendered, said, "candidate", "retrained")
    made = derive(scores, base="base", candidate="candidate", seed=0, retrained="retrained")
    found = {(each.metric, each.task): each for each in made if each.subject == "candidate"}
    by = {(score.subject, score.task.name): score for score in scores}
    for attack in ATTACKS:
        name = f"tofu_forget10_mia_{attack}_chat"
        items = by["candidate", name].samples
        seen = ["_holdout-" in each.id for each in items]
        assert seen.count(True) == seen.count(False) == 7
        expected = roc_auc_score(seen, [each.correct for each in items])
        assert found["mia_auc", name].value == pytest.approx(expected)
        if attack == "loss":
            other = [each.correct for each in by["retrained", name].samples]
            less = [each.correct - value for each, value in zip(items, other, strict=True)]
            assert found["mia_reference", name].value == pytest.approx(roc_auc_score(seen, less))
        else:
            assert ("mia_reference", name) not in found


def test_without_a_retrained_model_there_is_no_reference_attack(rendered, said):
    made = derive(scored(rendered, said, "candidate"), base="base", candidate="candidate", seed=0)
    assert "mia_auc" in {each.metric for each in made}
    assert "mia_reference" not in {each.metric for each in made}


def test_answers_come_back_from_the_store_the_same(rendered, said, chatty):
    """With what is known of each token; an entry without it, or with too little, is no answer to such a task."""
    tokens = rendered.tokens(chatty)
    for name in ("tofu_forget10_extraction_strength_chat", "tofu_forget10_mia_min_k_plus_plus_chat"):
        each = said["candidate", name]
        held = stored_answers.to_json(each.task.items, each.answers)
        again = stored_answers.from_json(held, each.task.items, tokens, each.task.each_token)
        first = count(each.task, each.answers, subject="candidate", precision="full", seed=0)
        assert count(each.task, again, subject="candidate", precision="full", seed=0) == first
        with pytest.raises(ValueError, match="no answer"):
            stored_answers.from_json(held, each.task.items, tokens)
        held[0]["answers"][0]["likeliest"].pop()
        with pytest.raises(ValueError, match="not one of each"):
            stored_answers.from_json(held, each.task.items, tokens, each.task.each_token)
    plain = said["candidate", "tofu_forget10_mia_loss_chat"]
    held = stored_answers.to_json(plain.task.items, plain.answers)
    assert set(held[0]["answers"][0]) == {"tokens", "greedy"}, "what no metric reads is not kept"
    with pytest.raises(ValueError, match="no answer"):
        stored_answers.from_json(held, plain.task.items, tokens, [True] * len(plain.task.items))


def test_a_program_that_tells_of_one_token_alone_is_told_apart():
    """llama.cpp's formats: refused before anything is asked, with the way out."""
    model = SimpleNamespace(config=None, generation_config=None, rows=10, next_token=None)
    elsewhere = Elsewhere(model, vocabulary=10, label="precision gguf-q4_0")
    elsewhere.each_token = True
    with pytest.raises(ScoringError, match="Leave the GGUF precisions out"):
        elsewhere.score([], str)
