"""A small world for scoring: invented questions in three forms, byte-level tokenizers, and tiny random models."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.tiny import build

WORDS = ["amber", "basalt", "cedar", "damson", "ember", "fjord", "garnet", "heather", "indigo", "juniper", "kelp"]

LETTERED = r"""
task: invented_lettered
dataset_path: json
dataset_kwargs: {data_files: {test: lettered.jsonl}}
test_split: test
output_type: multiple_choice
description: "The following are multiple choice questions (with answers) about islands.\n\n"
doc_to_text: "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

WORDED = """
task: invented_worded
dataset_path: json
dataset_kwargs: {data_files: {test: worded.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""

WRITTEN = """
task: invented_written
dataset_path: json
dataset_kwargs: {data_files: {test: worded.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["e"], max_gen_toks: 12, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""

SUITE = """
version: 1
name: invented
title: Invented
description: Three forms of invented questions.
forget: [{task: invented_lettered, metric: acc, chance: 0.25}]
retain:
  - {task: invented_worded, metric: acc_norm, chance: 0.25}
  - {task: invented_written, metric: exact_match, chance: 0.0}
include: [invented]
calibration: {tasks: retain}
"""


def questions(count: int) -> list[dict]:
    """Items of very unequal length, so that a batch has padding."""
    draw = random.Random(3)
    items = []
    for index in range(count):
        things = [" ".join(draw.sample(WORDS, draw.randint(1, 4))) for _ in range(4)]
        question = f" What is {' and '.join(draw.sample(WORDS, draw.randint(1, 6)))} number {index}?"
        items.append({"question": question, "choices": things, "answer": draw.randrange(4)})
    return items


def write_world(root: Path, count: int = 23) -> Path:
    """A tasks folder with a suite, three tasks and their data; returns the suite's file."""
    folder = root / "tasks" / "invented"
    folder.mkdir(parents=True)
    (root / "tasks" / "suites").mkdir()
    for name, text in (("lettered", LETTERED), ("worded", WORDED), ("written", WRITTEN)):
        (folder / f"{name}.yaml").write_text(text)
    for name in ("lettered", "worded"):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in questions(count)))
    path = root / "tasks" / "suites" / "invented.yaml"
    path.write_text(SUITE)
    return path


def make_tokenizer(*, bos: bool = True, eos_after: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 300 tokens: words are several tokens, the letters A to D one each after a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["Answer: A", "Answer: B", "Answer: C", "Answer: D", "What is the"] * 20
    tokenizer.train_from_iterator([*texts, *WORDS], trainer)
    special = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    if bos:
        single = "<s> $A </s>" if eos_after else "<s> $A"
        pair = "<s> $A $B"
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    names = {"bos_token": "<s>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", **names)


def make_model(family: str = "llama", vocabulary: int = 300, length: int = 512):
    """A random model with weights large enough that its answers differ from one another."""
    shared = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "max_position_embeddings": length}
    return build(family, seed=5, initializer_range=0.3, **shared, **sizes)


@pytest.fixture(scope="session", autouse=True)
def _own_dataset_cache(tmp_path_factory):
    """Datasets are cached beside the test, not in the user's home."""
    import datasets

    kept = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    yield
    datasets.config.HF_DATASETS_CACHE = kept


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    from unlearn_guard.scoring.suites import load_suite

    return load_suite(write_world(tmp_path_factory.mktemp("world")))


@pytest.fixture(scope="session")
def rendered(suite):
    from unlearn_guard.scoring.evaluate import render

    return render(suite, defaults=False)


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture
def world(tmp_path):
    """A suite file of one's own, to break."""
    return write_world(tmp_path, count=5)


class Scoring:
    """The makers above, for tests that need another size or family."""

    make_tokenizer = staticmethod(make_tokenizer)
    make_model = staticmethod(make_model)


@pytest.fixture(scope="session")
def scoring():
    return Scoring
