"""Where prompt pairs come from: a suite's file, or its own lettered questions under a neutral stem."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests import invented_data
from tests.invented_data import vendor
from unlearn_guard.attribution.prompts import NEUTRAL_STEM
from unlearn_guard.attribution.swapping import FEWEST
from unlearn_guard.checking.prompt_pairs import PAIRS, suite_pairs
from unlearn_guard.errors import SuiteError
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.suites import load_suite

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question.strip()}}}} A. {{{{choices[0]}}}} B. {{{{choices[1]}}}} Answer:"
doc_to_choice: ["A", "B"]
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
SUITE = """\
version: 1
name: toy
title: toy
description: toy
forget: [{{task: toy_forget, metric: acc, chance: 0.5{pairs}}}]
retain: [{{task: toy_retain, metric: acc, chance: 0.5}}]
include: [toy]
"""


@pytest.fixture
def words() -> PreTrainedTokenizerFast:
    return word_tokenizer("What is the colour of stone number ? A . B Answer : red blue " + NEUTRAL_STEM)


def word_tokenizer(text: str) -> PreTrainedTokenizerFast:
    """One token for each word of a text, and for numbers below 99."""
    split = [word for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text)]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(["<unk>", *split, *map(str, range(99))]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def suite(folder: Path, pairs: str) -> Path:
    (folder / "toy").mkdir()
    (folder / "suites").mkdir()
    for name in ("toy_forget", "toy_retain"):
        (folder / "toy" / f"{name}.yaml").write_text(TASK.format(name=name))
        rows = [
            {"question": f"What is the colour of stone number {i}?", "choices": ["red", "blue"], "answer": i % 2}
            for i in range(60)
        ]
        (folder / "toy" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "suites" / "toy.yaml").write_text(SUITE.format(pairs=pairs))
    return folder / "suites" / "toy.yaml"


def test_neutral_pairs_change_the_stem_and_nothing_else(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    pairs = suite_pairs(render(load_suite(suite(tmp_path, ", pairs: neutral"))), words).pairs
    assert list(pairs) == ["toy_forget"]
    assert len(pairs["toy_forget"]) == PAIRS
    first = pairs["toy_forget"][0]
    clean, corrupted = words.decode(first.clean), words.decode(first.corrupted)
    assert clean.startswith("What is the colour of stone number 0 ?")
    assert corrupted.startswith("Which of the following statements is the correct")
    assert clean.partition(" A .")[2] == corrupted.partition(" A .")[2] != ""
    assert len(first.clean) == len(first.corrupted)
    assert (words.decode([first.target]), words.decode(list(first.wrong))) == ("A", "B")


def test_swapped_pairs_of_a_choice_are_its_texts(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    """Not the answer's index, and no letter where the choices are words; those of 60 stones part at the colour."""
    path = suite(tmp_path, ", pairs: swapped")
    task = tmp_path / "toy" / "toy_forget.yaml"
    text = task.read_text().replace('doc_to_choice: ["A", "B"]', "doc_to_choice: choices")
    task.write_text(text.replace(" A. {{choices[0]}} B. {{choices[1]}}", ""))
    pairs = suite_pairs(render(load_suite(path)), words).pairs["toy_forget"]
    assert len(pairs) == PAIRS
    said = [(words.decode([pair.target]), words.decode(list(pair.wrong))) for pair in pairs]
    assert said == [("red", "blue") if index % 2 == 0 else ("blue", "red") for index in range(PAIRS)]
    assert words.decode(pairs[0].corrupted) == "What is the colour of stone number 1 ? Answer :"


def test_choices_of_several_tokens_are_compared_where_they_part(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    path = suite(tmp_path, ", pairs: swapped")
    task = tmp_path / "toy" / "toy_forget.yaml"
    text = task.read_text().replace(
        'doc_to_choice: ["A", "B"]', "doc_to_choice: \"{{['the red stone', 'the blue stone']}}\""
    )
    task.write_text(text.replace(" A. {{choices[0]}} B. {{choices[1]}}", ""))
    first, *_ = suite_pairs(render(load_suite(path)), words).pairs["toy_forget"]
    assert words.decode(first.clean) == "What is the colour of stone number 0 ? Answer : the"
    assert (words.decode([first.target]), words.decode(list(first.wrong))) == ("red", "blue")


def test_lettered_questions_can_be_swapped_too(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    pairs = suite_pairs(render(load_suite(suite(tmp_path, ", pairs: swapped"))), words).pairs["toy_forget"]
    assert {(words.decode([pair.target]), words.decode(list(pair.wrong))) for pair in pairs} == {("A", "B"), ("B", "A")}


def test_a_task_that_gives_no_pairs_is_told_and_left_out(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    """Every answer is a word of its question: so its limits stay unmeasured, and the note says why."""
    path = suite(tmp_path, ", pairs: swapped")
    task = tmp_path / "toy" / "toy_forget.yaml"
    text = task.read_text().replace('doc_to_choice: ["A", "B"]', "doc_to_choice: \"{{['stone', 'blue']}}\"")
    task.write_text(text.replace(" A. {{choices[0]}} B. {{choices[1]}}", "").replace("target: answer", "target: 0"))
    found = suite_pairs(render(load_suite(path)), words)
    assert found.pairs == {}
    assert "no circuit of toy_forget is looked for" in found.notes[0]


def test_the_pairs_of_tofu_ask_for_the_fact(tmp_path: Path) -> None:
    """Of TOFU's schema: the target is a word of the answer alone, in four pairs of five and more."""
    folder = vendor(tmp_path, "tofu", items=60)
    rows = invented_data.tofu(60)["forget10_perturbed", "train"]
    texts = [text for row in rows for text in (*row["perturbed_answer"], row["paraphrased_answer"], row["question"])]
    tokenizer = word_tokenizer(f"Question Answer : ? {' '.join(texts)}")
    pairs = suite_pairs(render(load_suite("tofu"), data_dir=folder), tokenizer).pairs["tofu_forget10_rouge"]
    assert len(pairs) >= FEWEST
    assert all("There grows" in tokenizer.decode(pair.clean) for pair in pairs)
    outside = [pair for pair in pairs if pair.target not in pair.clean]
    assert len(outside) >= 0.8 * len(pairs)


def test_a_task_without_a_source_has_no_pairs(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    assert suite_pairs(render(load_suite(suite(tmp_path, ""))), words).pairs == {}


def test_a_file_of_pairs_is_taken_as_it_is(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    path = suite(tmp_path, ", pairs: toy/pairs.jsonl")
    line = {"clean": "What is 1 ?", "corrupted": "What is 2 ?", "target": " red", "wrong": [" blue"]}
    (tmp_path / "toy" / "pairs.jsonl").write_text(json.dumps(line))
    (pair,) = suite_pairs(render(load_suite(path)), words).pairs["toy_forget"]
    assert words.decode(pair.corrupted) == "What is 2 ?"


def test_a_missing_file_of_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"`swapped` or a file"):
        load_suite(suite(tmp_path, ", pairs: toy/nowhere.jsonl"))


def test_pairs_of_a_retain_task_are_refused(tmp_path: Path) -> None:
    path = suite(tmp_path, "")
    path.write_text(
        path.read_text().replace("task: toy_retain, metric: acc", "task: toy_retain, pairs: neutral, metric: acc")
    )
    with pytest.raises(SuiteError, match="pairs of forget tasks"):
        load_suite(path)
