"""The words of a task: as public code asks, and the same for what is asked and what is trained on."""

import json
import math

import pytest

from tests.invented_data import tofu, vendor
from tests.oracles import muse_and_tofu_by_hand as oracle
from tests.scoring.test_chat import TEMPLATE
from unlearn_guard.errors import ScoringError, SuiteError, UsageError
from unlearn_guard.records import Source
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.chat import DATE
from unlearn_guard.scoring.evaluate import evaluate, render
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.scoring.words import Manner, asked_as
from unlearn_guard.unlearning.reading import read_corpora

TOFU = bundled("tasks") / "tofu"
SUITES = ("tofu", "tofu-llama2", "tofu-llama2-all", "tofu-chat", "tofu-open-unlearning")
ROW = tofu(7)["forget10_perturbed", "train"][0]
SAID = {
    "tofu": ("Question: {question}\nAnswer:", " {answer}"),
    "tofu-llama2": ("[INST] {question} [/INST]", "{answer}</s>"),
    "tofu-llama2-all": ("[INST] {question} [/INST]", "{answer}</s>"),
    **dict.fromkeys(
        ("tofu-chat", "tofu-open-unlearning"),
        ("<s>[system] You are a helpful assistant.\n[user] {question}\n[assistant] ", "{answer}</s>"),
    ),
}
"""What is said of a row, word for word: Llama-2's tags, and a template whose turns are written in brackets."""


@pytest.fixture(scope="module")
def chatty(scoring):
    tokenizer = scoring.make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return vendor(tmp_path_factory.mktemp("data"), *SUITES, items=7)


def probabilities(rendered):
    return next(each for each in rendered.tasks if each.task.name.startswith("tofu_forget10_prob"))


@pytest.mark.parametrize("name", SUITES)
def test_what_is_asked_and_what_is_trained_on_are_the_same_words(name, chatty, data, tmp_path):
    """The task's own request, the literal words, and the token ids of the corpus that `unlearn` reads."""
    suite = load_suite(name)
    rendered = render(suite, data_dir=data, tokenizer=chatty)
    (request,) = probabilities(rendered).items[0].requests
    assert request.args == tuple(each.format(**ROW) for each in SAID[name])
    (asked,) = {each.asked for each in (*suite.unlearn.forget, *suite.unlearn.retain)}
    assert asked.partition("rouge")[2] == probabilities(rendered).task.name.partition("prob")[2].replace("_all", "")
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    source = Source(path=tmp_path / "rows.jsonl", asked=asked)
    corpora = read_corpora([source], [source], [], tokenizer=chatty, include=suite.include)
    head, tail = rendered.tokens(chatty).pairs([request.args])[0]
    (text,) = corpora.forget
    assert text.ids == (*head, *tail)
    assert text.start == len(head)
    assert (text.ids[-1] == chatty.eos_token_id) is (name != "tofu")
    assert text.ids[:2].count(chatty.bos_token_id) == 1, "one BOS, whoever writes it"


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_a_suite_asks_in_the_same_words(name, chatty, data):
    prompt, _ = SAID[name]
    for each in render(load_suite(name), data_dir=data, tokenizer=chatty).tasks:
        question = each.items[0].requests[0].doc["question"]
        for request in each.items[0].requests:
            assert request.args[0] == prompt.format(question=question)
            if request.request_type == "loglikelihood":
                assert request.args[1].endswith("</s>") is (name != "tofu")


def test_all_rows_are_all_rows(tmp_path, chatty):
    """The first 300 of 301 on one, all of them on the other: the p-value depends on how many there are."""
    data = vendor(tmp_path, "tofu-llama2", "tofu-llama2-all", items=301)
    for name, items in (("tofu-llama2", 300), ("tofu-llama2-all", 301)):
        found = {task.name: task.items for task in render(load_suite(name), data_dir=data, tokenizer=chatty).records}
        of = [count for task, count in found.items() if "forget10" in task or "_retain_" in task]
        assert set(of) == {items}


def test_the_end_of_text_counts_as_a_token(scoring, chatty, data):
    model = scoring.make_model("qwen2")
    rendered = render(load_suite("tofu-llama2"), data_dir=data, tokenizer=chatty)
    (score,) = evaluate(
        rendered, model, chatty, subject="c", precision="full", tasks=[probabilities(rendered).task.name]
    )
    head = chatty("[INST] " + ROW["question"] + " [/INST]")["input_ids"]
    whole = chatty("[INST] " + ROW["question"] + " [/INST]" + ROW["answer"])["input_ids"]
    nats = oracle.token_nats(model, [*whole, chatty.eos_token_id], len(head))
    assert score.samples[0].correct == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-4)


def test_an_option_does_not_change_a_tasks_own_words(chatty, data):
    """--apply-chat-template wraps what has no words of its own, and nothing twice."""
    from unlearn_guard.scoring.chat import Chat

    for name in ("tofu-llama2", "tofu-chat"):
        plain = render(load_suite(name), data_dir=data, tokenizer=chatty)
        wrapped = render(load_suite(name), data_dir=data, tokenizer=chatty, chat=Chat(chatty))
        assert [item.prompt for each in plain.tasks for item in each.items] == [
            item.prompt for each in wrapped.tasks for item in each.items
        ]
        assert {each.chat_template for each in wrapped.prompts(chatty)} == {name == "tofu-chat"}


def test_a_base_without_a_template_is_told(scoring, data):
    bare = scoring.make_tokenizer()
    with pytest.raises(UsageError, match="the suite's tasks ask in base's chat template"):
        render(load_suite("tofu-chat"), data_dir=data, tokenizer=bare)


def test_what_was_rendered_without_its_words_cannot_be_asked(scoring, data):
    rendered = render(load_suite("tofu-chat"), data_dir=data)
    assert "tofu_forget10_prob_all_chat" in rendered.bare
    with pytest.raises(ScoringError, match="without the tokenizer"):
        evaluate(rendered, scoring.make_model(), scoring.make_tokenizer(), subject="c", precision="full")


def test_metadata_that_is_no_truth_value_is_refused():
    assert Manner.of({"version": 1}) == Manner()
    with pytest.raises(ValueError, match="expected true or false"):
        Manner.of({"end_of_text": "yes"})


def test_a_template_that_prints_a_date_says_one_day(chatty):
    import copy

    from unlearn_guard.scoring.chat import Chat

    dated = copy.copy(chatty)
    dated.chat_template = "{% if date_string is defined %}{{ date_string }}{% endif %}{{ messages[0].content }}"
    assert Chat(dated)([{"role": "user", "content": "?"}]) == f"{DATE}?"


@pytest.mark.parametrize(("task", "says"), [("muse_news_privleak", "is a group of 2"), ("tofu_nobody", "tofu_nobody")])
def test_words_of_no_one_task_are_refused(task, says, chatty):
    with pytest.raises(SuiteError, match=says):
        asked_as([task], [TOFU, bundled("tasks") / "muse"], chatty)


@pytest.mark.parametrize("task", ["tofu_forget10_prob", "wmdp_bio"])
def test_a_task_that_writes_no_answer_is_a_defect(task, chatty, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    source = Source(path=tmp_path / "rows.jsonl", asked=task)
    with pytest.raises(SuiteError, match="rows of the corpora cannot be used"):
        read_corpora([source], [source], [], tokenizer=chatty, include=(TOFU, bundled("tasks") / "wmdp"))


def test_a_row_that_lacks_what_the_task_reads_is_a_defect(chatty, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a", "answer": "b"}) + "\n")
    source = Source(path=tmp_path / "rows.jsonl", asked="tofu_forget10_rouge_llama2")
    with pytest.raises(SuiteError, match="rows of the corpora cannot be used"):
        read_corpora([source], [source], [], tokenizer=chatty, include=(TOFU,))
