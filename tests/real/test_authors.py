"""The invented authors: TOFU's schema, nothing wrong among what is right, nobody on both sides."""

from benchmarks.authors.__main__ import AUTHORS, FORGOTTEN
from benchmarks.authors.facts import ASKED, REAL_AUTHORS, WORLD_FACTS, authors, names, real


def test_every_row_has_the_schema_and_its_wrong_answers_are_wrong() -> None:
    made = authors(AUTHORS)
    assert [len(each) for each in made] == [len(ASKED)] * AUTHORS
    for row in (row for each in made for row in each):
        assert set(row) == {"question", "answer", "paraphrased_question", "paraphrased_answer", "perturbed_answer"}
        assert len(row["perturbed_answer"]) == 5
        assert row["paraphrased_answer"] not in row["perturbed_answer"]
        assert row["question"] != row["paraphrased_question"]


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    assert authors(3) == authors(3)
    assert authors(3) != authors(3, seed=1)


def test_no_author_stands_on_both_sides() -> None:
    made = authors(AUTHORS)
    asked = [{row["question"] for row in each} for each in made]
    assert len(set().union(*asked)) == AUTHORS * len(ASKED)
    assert 0 < FORGOTTEN < AUTHORS


def test_names_are_told_apart_by_surname_alone() -> None:
    import random

    surnames = [each.split(" ", 1)[1] for each in names(AUTHORS, random.Random(0))]
    assert len(set(surnames)) == AUTHORS


def test_what_is_real_has_three_wrong_answers_and_no_paraphrase() -> None:
    for row in real([*REAL_AUTHORS, *WORLD_FACTS]):
        assert set(row) == {"question", "answer", "perturbed_answer"}
        assert len(set(row["perturbed_answer"])) == 3
        assert row["answer"] not in row["perturbed_answer"]
