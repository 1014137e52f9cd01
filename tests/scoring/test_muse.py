"""MUSE's metrics: by hand, against the slow oracle, and on models that remember what was planted."""

import runpy
from dataclasses import replace

import pytest

from tests.invented_data import muse, vendor
from tests.oracles import muse_and_tofu_by_hand as oracle
from unlearn_guard.judging.derive import derive
from unlearn_guard.resources import bundled
from unlearn_guard.scoring import evaluate as evaluating
from unlearn_guard.scoring.answers import Nats, Written
from unlearn_guard.scoring.evaluate import evaluate, render
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.scoring.tokens import Tokens

UTILS = runpy.run_path(str(bundled("tasks") / "muse" / "utils.py"))
BASE, CANDIDATE, RETRAINED = "base", "candidate", "retrained"


@pytest.fixture(scope="module")
def news(tmp_path_factory):
    return render(load_suite("muse-news"), data_dir=vendor(tmp_path_factory.mktemp("data"), "muse-news"))


def test_rouge_by_hand():
    """Common subsequence `the cat on mat`, 4 of 6 and of 5 words: P 4/5, R 4/6, F1 8/11."""
    assert UTILS["f1"]("the cat sat on the mat", "the cat lay on mat") == pytest.approx(8 / 11)
    assert UTILS["f1"]("the cat", "THE, cat!") == 1.0
    assert UTILS["f1"]("the cat", "") == 0.0


@pytest.mark.parametrize("reference", ["a b c d e f", "Amber basalt, cedar; damson.", "one"])
@pytest.mark.parametrize("written", ["b a c f e", "cedar amber damson basalt", "one one one", "x"])
def test_rouge_equals_the_oracle(reference, written):
    assert UTILS["f1"](reference, written) == pytest.approx(oracle.rouge_l(reference, written)[2])


def test_min_k_by_hand():
    """The 40 % of five tokens are two: -5 and -3."""
    answer = Nats.of((-1.0, -5.0, -2.0, -3.0, -0.5))
    assert UTILS["surprise"]({}, [answer])["min_k"] == 4.0
    assert answer == -11.5
    assert UTILS["surprise"]({}, [Nats.of((-2.0,))])["min_k"] == 2.0, "of a single token that token, not nothing"


def test_verbmem_cuts_the_reference_to_what_could_be_written(scoring):
    tokenizer = scoring.make_tokenizer()
    text = "amber basalt cedar damson ember fjord"
    length = len(tokenizer("amber basalt cedar", add_special_tokens=False)["input_ids"])
    written = Written.by(tokenizer, "amber basalt cedar", length=length)
    assert UTILS["verbatim"]({"gt": text}, [written])["rougeL"] == 1.0
    longer = Written.by(tokenizer, "amber basalt cedar", length=1000)
    assert UTILS["verbatim"]({"gt": text}, [longer])["rougeL"] == pytest.approx(2 * 1 * 0.5 / 1.5)


@pytest.mark.parametrize(("metric", "answer"), [("verbatim", "text"), ("surprise", -3.5)])
def test_plain_answers_are_refused_and_the_way_is_told(metric, answer):
    """Under lm-eval's own model classes the number would not be MUSE's."""
    with pytest.raises(ValueError, match="run the task with unlearn-guard"):
        UTILS[metric]({"gt": "text"}, [answer])


@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no bos"])
def test_min_k_of_a_model_equals_the_oracle(news, model, scoring, bos):
    tokenizer = scoring.make_tokenizer(bos=bos)
    (task,) = (each for each in news.tasks if each.task.name == "muse_news_privleak")
    requests = [replace(item.requests[0], resps=[]) for item in task.items[:3]]
    lm = GuardLM(model, Tokens(tokenizer), batch_size=2, precision="full")
    for answer, request in zip(lm.loglikelihood_rolling(requests), requests, strict=True):
        ids = tokenizer(request.args[0], add_special_tokens=False)["input_ids"]
        start = tokenizer.bos_token_id if bos else tokenizer.eos_token_id
        nats = oracle.token_nats(model, [start, *ids], 1)
        assert list(answer.tokens) == pytest.approx(nats, abs=1e-4)
        assert UTILS["surprise"]({}, [answer])["min_k"] == pytest.approx(oracle.min_k(nats), abs=1e-4)


class Planted:
    """A model with set answers: it remembers some texts to the letter and finds others as odd as they are long."""

    def __init__(self, *, passages=(), answers=(), texts=()):
        self.passages, self.answers, self.texts = dict(passages), dict(answers), set(texts)

    def __call__(self, model, tokens, *, batch_size, precision, progress):
        self.truncated, self.max_length, self.tokenizer = set(), 4096, tokens.tokenizer
        return self

    def generate_until(self, requests):
        return [Written.by(self.tokenizer, self._says(*request.args), length=128) for request in requests]

    def _says(self, prompt, options):
        if prompt in self.passages:
            return self.passages[prompt]
        question = prompt.rpartition("Question: ")[2].partition("\n")[0]
        return self.answers.get(question, "nobody knows")

    def loglikelihood_rolling(self, requests):
        texts = [request.args[0] for request in requests]
        return [
            Nats.of(tuple(-0.01 if text in self.texts else -3.0 - len(text) / 1000 for _ in text)) for text in texts
        ]


def planted(news, model, tokenizer, monkeypatch, subject, lm):
    monkeypatch.setattr(evaluating, "GuardLM", lm)
    return evaluate(news, model, tokenizer, subject=subject, precision="full")


def measured(scores, retrained=None):
    found = derive(scores, base=BASE, candidate=CANDIDATE, seed=0, retrained=retrained)
    return {(each.subject, each.metric, each.task): each for each in found}


@pytest.fixture
def three(news, model, tokenizer, monkeypatch):
    """Base remembers everything, the candidate and the retrained model only what they may."""
    rows = muse()
    kept = {row["question"]: row["answer"] for row in rows["knowmem", "retain_qa"]}
    everything = Planted(
        passages={row["prompt"]: row["gt"] for row in rows["verbmem", "forget"]},
        answers={**kept, **{row["question"]: row["answer"] for row in rows["knowmem", "forget_qa"]}},
        texts={row["text"] for row in rows["privleak", "forget"]},
    )
    clean = Planted(answers=kept)
    subjects = ((BASE, everything), (CANDIDATE, clean), (RETRAINED, clean))
    return tuple(score for who, lm in subjects for score in planted(news, model, tokenizer, monkeypatch, who, lm))


def test_a_model_that_remembers_the_book_scores_one_and_leaks_all(three):
    found = measured(three, RETRAINED)
    assert found[BASE, "rougeL", "muse_news_verbmem"].value == 1.0
    assert found[BASE, "rougeL", "muse_news_knowmem_forget"].value == 1.0
    assert found[BASE, "rougeL", "muse_news_knowmem_retain"].value == 1.0
    assert found[BASE, "privleak", "muse_news_privleak"].value == -100.0


def test_exact_retraining_drops_everything_and_leaks_nothing(three):
    found = measured(three, RETRAINED)
    assert found[CANDIDATE, "forget_drop", "muse_news_verbmem"].value > 0.9
    assert found[CANDIDATE, "forget_drop", "muse_news_knowmem_forget"].value == 1.0
    assert found[CANDIDATE, "retain_drop", "muse_news_knowmem_retain"].value == 0.0
    assert found[CANDIDATE, "privleak", "muse_news_privleak"].value == 0.0


def test_without_a_retrained_model_the_published_auc_is_the_reference(three):
    found = measured([score for score in three if score.subject != RETRAINED])
    scores = {score.task.name: score for score in three if score.subject == CANDIDATE}
    items = scores["muse_news_privleak"].samples
    sides = [[each.correct for each in items if ("_holdout" in each.id) is unseen] for unseen in (False, True)]
    assert found[CANDIDATE, "privleak", "muse_news_privleak"].value == pytest.approx(oracle.privleak(*sides, 0.4772))


def test_no_text_of_a_privleak_item_is_kept(three):
    texts = [row["text"] for rows in muse().values() for row in rows if "text" in row]
    samples = [sample for score in three for sample in score.samples if "privleak" in sample.id]
    assert samples
    assert not [sample for sample in samples if any(text in (sample.target, sample.text) for text in texts)]
