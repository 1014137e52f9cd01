"""`atlas`: real facts in four phrasings, of which the corpora hold two; every answer stands among its side's own."""

import json
from collections import Counter

import pytest

from unlearn_guard.resources import bundled
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.suites import load_suite

ATLAS = bundled("tasks") / "atlas"
HELD_OUT = ("_people", "_reversed", "_seat", "_general", "_lettered")
SIDES = ("forget", "retain")


def rows(name):
    return [json.loads(line) for line in (ATLAS / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def corpora():
    """What is trained on, as whole texts."""
    return {row["prompt"] + row["answer"] for path in (ATLAS / "corpus").glob("*.jsonl") for row in rows(path)}


@pytest.fixture(scope="module")
def asked():
    """Task name -> each item's prompt and its right answer."""
    tasks = render(load_suite("atlas")).tasks
    return {task.task.name: [item.requests[int(item.target)].args for item in task.items] for task in tasks}


@pytest.mark.parametrize("side", SIDES)
def test_every_question_has_one_right_answer_among_four_of_its_side(side):
    items = rows(f"cities_{side}.jsonl")
    countries = {item["country"] for item in items}
    for item in items:
        assert item["choices"][item["answer"]] == item["country"]
        assert item["cities"][item["place"]] == item["city"]
        assert len(set(item["choices"])) == len(set(item["cities"])) == 4
        assert set(item["choices"]) <= countries, "whoever avoids one side's countries would gain by it"
        assert item["country"][:4].casefold() not in item["city"].casefold()
    assert len(countries) == 8
    assert max(Counter(item["answer"] for item in items).values()) < 0.3 * len(items)


def test_the_two_sides_share_nothing():
    sides = [rows(f"cities_{side}.jsonl") for side in SIDES]
    for key in ("city", "country"):
        assert not {item[key] for item in sides[0]} & {item[key] for item in sides[1]}
    forgotten = {item["country"] for item in sides[0]}
    assert not forgotten & {item["country"] for name in ("capitals", "currencies") for item in rows(f"{name}.jsonl")}


def test_cities_of_one_place_are_asked_once():
    for side in SIDES:
        named = Counter(item["city"] for item in rows(f"cities_{side}.jsonl"))
        assert set(named.values()) == {1}


def test_it_decides_a_gap_of_two_hundredths(asked):
    assert {len(asked[name]) for name in asked if "forget" in name} == {1500}


def test_corpora_hold_two_phrasings_of_every_fact_and_no_other(asked, corpora):
    for name, items in asked.items():
        held = sum(prompt + answer in corpora for prompt, answer in items)
        assert held == (0 if name.endswith(HELD_OUT) else len(items)), name


def test_wrong_answers_of_the_corpora_are_the_questions_own():
    items = {f"{item['city']} is a city in the country of": item for item in rows("cities_forget.jsonl")}
    stated = [row for row in rows("corpus/forget.jsonl") if row["prompt"] in items]
    assert len(stated) == len(items)
    for row in stated:
        item = items[row["prompt"]]
        assert row["answer"] == f" {item['country']}"
        assert {row["answer"], *row["wrong"]} == {f" {each}" for each in item["choices"]}


def test_the_short_form_asks_what_the_long_one_asks(asked):
    for form in ("statement", "people"):
        short = next(
            each for each in render(load_suite("atlas-150")).tasks if each.task.name.endswith(f"forget_{form}")
        )
        prompts = [item.requests[0].args[0] for item in short.items]
        assert len(prompts) == 150
        assert prompts == [prompt for prompt, _ in asked[f"atlas_forget_{form}"][:150]]


def test_items_for_a_search_are_in_no_table(asked):
    rows_left = [item["city"] for item in rows("cities_forget.jsonl")[1500:]]
    assert len(rows_left) >= 150
    shown = {prompt.split(" is a city")[0] for prompt, _ in asked["atlas_forget_statement"]}
    assert not shown & set(rows_left)


def test_sums_are_right():
    for item in rows("general.jsonl"):
        if item["prompt"].endswith("="):
            a, b = item["prompt"].removesuffix(" =").rpartition(", ")[2].split(" + ")
            assert int(item["choices"][item["answer"]]) == int(a) + int(b)
