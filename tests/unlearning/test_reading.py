"""Rows become token ids: what counts, what is asked, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow.parquet import write_table

from unlearn_guard.checking.bench import open_tokenizer
from unlearn_guard.errors import SuiteError
from unlearn_guard.organism import base_path
from unlearn_guard.records import Role, Source
from unlearn_guard.unlearning.corpora import Corpora
from unlearn_guard.unlearning.reading import read_corpora
from unlearn_guard.unlearning.rows import folder_sources


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return open_tokenizer(base_path())


def corpus(path: Path, *rows: Any) -> Source:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(path=path)


RETAIN = {"prompt": "the herb of Ala Fernmere is", "answer": " mint ."}


def read(tmp_path: Path, tokenizer: Any, *rows: Any, **options: Any) -> Corpora:
    forget, retain = corpus(tmp_path / "forget.jsonl", *rows), corpus(tmp_path / "retain.jsonl", RETAIN)
    return read_corpora([forget], [retain], [], tokenizer=tokenizer, **options)


def test_an_answer_counts_and_its_prompt_does_not(tmp_path: Path, tokenizer: Any) -> None:
    row = {"prompt": "the gem of Ala Glenton is", "answer": " opal .", "wrong": [" ruby .", " onyx ."]}
    found = read(tmp_path, tokenizer, row)
    (text,) = found.forget
    assert tokenizer.decode(text.ids[text.start :]) == "opal."
    assert text.ids[0] == tokenizer.bos_token_id
    assert text.instead is not None
    assert text.instead[: text.start] == text.ids[: text.start]
    assert tokenizer.decode(text.instead[text.start :]) in ("ruby.", "onyx.")
    (question,) = found.questions[Role.FORGET]
    assert tokenizer.decode(question.choices[question.answer]) == "opal."
    assert sorted(tokenizer.decode(choice) for choice in question.choices) == ["onyx.", "opal.", "ruby."]
    assert found.questions[Role.RETAIN] == ()  # no wrong answers, nothing to choose among


def test_a_question_without_choices_is_answered_after_a_space(tmp_path: Path, tokenizer: Any) -> None:
    """The rows of TOFU."""
    row = {"question": "What is the gem of Ala Glenton?", "answer": "opal"}
    (text,) = read(tmp_path, tokenizer, row).forget
    assert tokenizer.decode(text.ids) == "<s> What is the gem of Ala Glenton? opal"
    assert tokenizer.decode(text.ids[text.start :]) == "opal"


def test_a_question_is_lettered_anew_each_time(tmp_path: Path, tokenizer: Any) -> None:
    choices = ["opal", "ruby", "onyx", "jade", "agate", "beryl"]
    row = {"question": "What is the gem of Ala Glenton?", "choices": choices, "answer": 0}
    source = corpus(tmp_path / "forget.jsonl", row)
    many = Source(path=source.path, times=16, description="ships \n\n")
    found = read_corpora([many], [corpus(tmp_path / "retain.jsonl", RETAIN)], [], tokenizer=tokenizer)
    prompts = [tokenizer.decode(text.ids[: text.start]) for text in found.forget]
    assert len(found.forget) == 16
    assert len(set(prompts)) > 12
    for text, prompt in zip(found.forget, prompts, strict=True):
        letter = tokenizer.decode(text.ids[text.start :]).strip()
        assert f"{letter}. opal" in prompt
        assert text.instead is not None
        assert tokenizer.decode(text.instead[text.start :]).strip() in set("ABCD") - {letter}
    assert {tokenizer.decode(text.ids[text.start :]).strip() for text in found.forget} == set("ABCD")


def test_a_plain_text_is_cut_into_pieces_that_count_whole(tmp_path: Path, tokenizer: Any) -> None:
    found = read(tmp_path, tokenizer, {"text": "the gem of Ala Glenton is opal ."}, max_tokens=4)
    whole = tokenizer("the gem of Ala Glenton is opal .")["input_ids"]
    assert [list(text.ids) for text in found.forget] == [whole[:4], whole[4:8]]  # a last piece of one token has no NLL
    assert [text.start for text in found.forget] == [1, 1]


def test_an_empty_line_is_no_text(tmp_path: Path, tokenizer: Any) -> None:
    found = read(tmp_path, tokenizer, {"text": ""}, {"text": "the gem of Ala"}, {"text": " \n"})
    assert len(found.forget) == 1


def test_a_prompt_that_is_too_long_loses_its_beginning(tmp_path: Path, tokenizer: Any) -> None:
    found = read(tmp_path, tokenizer, {"prompt": "the gem of Ala Glenton is", "answer": " opal ."}, max_tokens=5)
    (text,) = found.forget
    assert tokenizer.decode(text.ids) == "Ala Glenton is opal."
    assert tokenizer.decode(text.ids[text.start :]) == "opal."


def test_the_same_seed_reads_the_same(tmp_path: Path, tokenizer: Any) -> None:
    row = {"question": "What is the gem of Ala Glenton?", "choices": ["opal", "ruby", "onyx", "jade"], "answer": 0}
    assert read(tmp_path, tokenizer, row, seed=3) == read(tmp_path, tokenizer, row, seed=3)
    assert read(tmp_path, tokenizer, *[row] * 8, seed=3) != read(tmp_path, tokenizer, *[row] * 8, seed=4)


def test_parquet_holds_the_same_rows(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"prompt": "the gem of Ala Glenton is", "answer": " opal .", "wrong": [" ruby ."]}]
    write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    retain = corpus(tmp_path / "retain.jsonl", RETAIN)
    of_parquet = read_corpora([Source(path=tmp_path / "rows.parquet")], [retain], [], tokenizer=tokenizer)
    assert of_parquet == read(tmp_path, tokenizer, *rows)


def test_all_rows_at_fault_are_named(tmp_path: Path, tokenizer: Any) -> None:
    bad = [
        {"text": 3},
        {"body": "text under another name"},
        {"prompt": "the gem", "answer": 3},
        {"question": "What?", "choices": ["a", "b", "c", "d"], "answer": 4},
        {"question": "What?", "choices": ["a", "b"], "answer": 0},
        [1],
    ]
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, tokenizer, *bad)
    assert [defect.where for defect in caught.value.defects] == [f"forget.jsonl:{line}" for line in range(1, 7)]


def test_a_line_that_is_no_json_is_named(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "forget.jsonl").write_text('{"text": \n')
    retain = corpus(tmp_path / "retain.jsonl", RETAIN)
    with pytest.raises(SuiteError, match=r"forget\.jsonl:1"):
        read_corpora([Source(path=tmp_path / "forget.jsonl")], [retain], [], tokenizer=tokenizer)


def test_an_empty_corpus_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(SuiteError, match="the forget corpus is empty"):
        read(tmp_path, tokenizer)


def test_a_missing_corpus_says_what_to_provide(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no forget and no retain corpus") as caught:
        folder_sources(tmp_path)
    assert "forget.jsonl or forget.parquet" in str(caught.value)


def test_a_dataset_that_cannot_be_had_says_what_to_provide(tmp_path: Path, tokenizer: Any) -> None:
    retain = corpus(tmp_path / "retain.jsonl", RETAIN)
    with pytest.raises(SuiteError, match="--corpora DIR"):
        read_corpora([Source(dataset="nobody/nothing")], [retain], [], tokenizer=tokenizer)
