"""Clean and corrupted prompts have the same number of tokens, or are refused with their line."""

import json

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from unlearn_guard.attribution.prompts import Fact, lettered_pair, read_pairs, swap_subjects, text_pair
from unlearn_guard.errors import SuiteError

WORDS = [
    "<unk>",
    "the",
    "capital",
    "of",
    "France",
    "Spain",
    "New",
    "York",
    "is",
    "Paris",
    "Madrid",
    "Albany",
    "Question",
    "what",
    "?",
    "A",
    "B",
    "C",
    "D",
    "Answer",
    ":",
    "which",
    "one",
]


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")


def ids(text):
    return tuple(map(WORDS.index, text.split()))


def write(folder, *lines):
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_reads_token_ids_without_a_tokenizer(tmp_path):
    path = write(tmp_path, {"clean": [1, 2], "corrupted": [1, 3], "target": 5, "wrong": [6, 7]}, "",
                 {"clean": [1, 2], "corrupted": [4, 2], "target": [5], "wrong": [[6]]})  # fmt: skip
    first, second = read_pairs(path)
    assert (first.clean, first.corrupted, first.target, first.wrong) == ((1, 2), (1, 3), 5, (6, 7))
    assert (second.target, second.wrong, second.where) == (5, (6,), "pairs.jsonl:3")


def test_reads_texts(tmp_path, tokenizer):
    line = {
        "clean": "capital of France is",
        "corrupted": "capital of Spain is",
        "target": " Paris",
        "wrong": [" Madrid"],
    }
    (pair,) = read_pairs(write(tmp_path, line), tokenizer)
    assert pair.clean == ids("capital of France is")
    assert (pair.target, pair.wrong) == (WORDS.index("Paris"), (WORDS.index("Madrid"),))


GOOD = {"clean": [1, 2], "corrupted": [1, 3], "target": 5, "wrong": [6]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corrupted": [1, 3, 4]}, "2 clean and 3 corrupted tokens"),
        ({"corrupted": [1, 2]}, "the same prompt twice"),
        ({"wrong": []}, "a list of at least one answer"),
        ({"wrong": [5]}, "target 5 among the wrong"),
        ({"clean": "text"}, "all texts, or all token ids"),
        ({"clean": [1, -2]}, "all texts, or all token ids"),
        ({"target": [1, 2]}, "one token id"),
        ({"target": True}, "one token id"),
        ({"more": 1}, "exactly the keys"),
    ],
)
def test_names_the_line_at_fault(tmp_path, change, message):
    with pytest.raises(SuiteError, match=rf"pairs\.jsonl:2.*{message}"):
        read_pairs(write(tmp_path, GOOD, {**GOOD, **change}))


def test_names_every_line_at_fault(tmp_path):
    with pytest.raises(SuiteError, match=r"(?s)jsonl:1.*no JSON.*jsonl:3.*exactly the keys"):
        read_pairs(write(tmp_path, "{", GOOD, [1]))


def test_no_pair_no_file_and_no_tokenizer_are_errors(tmp_path):
    with pytest.raises(SuiteError, match="holds no prompt pair"):
        read_pairs(write(tmp_path, ""))
    with pytest.raises(SuiteError, match="cannot be read"):
        read_pairs(tmp_path / "absent.jsonl")
    with pytest.raises(SuiteError, match="no tokenizer"):
        read_pairs(write(tmp_path, {**GOOD, "clean": "a", "corrupted": "b", "target": "c", "wrong": ["d"]}))


def test_a_neutral_stem_has_the_stems_length_and_leaves_the_options(tokenizer):
    prompt = "Question what is the capital of France ? A Paris B Madrid Answer :"
    pair = lettered_pair(
        tokenizer, prompt=prompt, stem="what is the capital of France ?", choices=(" A", " B"), answer=0,
        neutral="which one is the",
    )  # fmt: skip
    assert pair.corrupted == ids("Question which one is the which one is A Paris B Madrid Answer :")
    assert (pair.target, pair.wrong) == (WORDS.index("A"), (WORDS.index("B"),))


def test_a_long_neutral_stem_is_cut(tokenizer):
    pair = lettered_pair(tokenizer, prompt="what is ? A", stem="what is", choices=(" A", " B"), answer=1,
                         neutral="which one of the")  # fmt: skip
    assert pair.corrupted == ids("which one ? A")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": "absent"}, "0 times in the prompt"),
        ({"answer": 2}, "answer 2 of 2"),
        ({"choices": (" A B", " C")}, "as 2 tokens"),
        ({"choices": (" A", " Z")}, "unknown to the tokenizer"),
        ({"neutral": "zebra"}, "words that the tokenizer knows"),
    ],
)
def test_refuses_a_question_by_name(tokenizer, changes, message):
    given = {"prompt": "what is ? A", "stem": "what is", "choices": (" A", " B"), "answer": 1, "neutral": "which one"}
    with pytest.raises(SuiteError, match=rf"item 7.*{message}"):
        lettered_pair(tokenizer, **{**given, **changes}, where="item 7")


def fact(subject, target, number):
    return Fact(
        prompt=f"the capital of {subject} is",
        subject=subject,
        target=f" {target}",
        wrong=(" Albany",),
        where=f"fact {number}",
    )


def test_swaps_in_the_next_subject_of_equal_length(tokenizer):
    swapped = swap_subjects(tokenizer, [fact("France", "Paris", 1), fact("Spain", "Madrid", 2)])
    assert [pair.corrupted for pair in swapped] == [ids("the capital of Spain is"), ids("the capital of France is")]
    assert swapped[0].target == WORDS.index("Paris")


def test_names_the_fact_that_no_subject_fits(tokenizer):
    facts = [fact("France", "Paris", 1), fact("New York", "Madrid", 2), fact("Spain", "Madrid", 3)]
    with pytest.raises(SuiteError, match=r"fact 2.*no other subject as long as 'New York'"):
        swap_subjects(tokenizer, facts)


def test_unequal_texts_are_refused(tokenizer):
    with pytest.raises(SuiteError, match="4 clean and 5 corrupted"):
        text_pair(
            tokenizer,
            clean="capital of France is",
            corrupted="capital of New York is",
            target=" Paris",
            wrong=(" Madrid",),
        )
