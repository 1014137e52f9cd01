from dataclasses import replace

from tests.oracles.made_evidence import VERDICTS, hostile_evidence, made_evidence, wide_evidence
from unlearn_guard.reports.evidence import Flips, Item
from unlearn_guard.reports.items_page import MOST, items_of, items_page


def item(number, **more):
    return Item(prompt=f"{number:064x}", id=f"forget-{number}", **more)


def flips(precision, back=(), lost=(), same=0, task="forget_task"):
    return Flips(task=task, precision=precision, back=tuple(back), lost=tuple(lost), right=0, wrong=same)


def evidence(*found):
    return replace(made_evidence(VERDICTS["failed"]()), flips=found)


def test_an_item_is_one_row_with_each_precision():
    made = evidence(
        flips("nf4", back=[item(2), item(10)], lost=[item(5)], same=7), flips("awq", back=[item(10)], same=9)
    )
    (task,) = items_of(made)
    assert task.precisions == ("nf4", "awq")
    assert [(each.item.id, each.at) for each in task.changed] == [
        ("forget-10", ("came back", "came back")),
        ("forget-2", ("came back", "")),
        ("forget-5", ("lost", "")),
    ]
    assert (task.forget, task.same, task.hidden) == (True, 7, 0)


def test_numbers_sort_as_numbers_and_forget_tasks_come_first():
    made = evidence(flips("nf4", lost=[item(1)], task="retain_task"), flips("nf4", back=[item(10), item(9), item(100)]))
    first, second = items_of(made)
    assert [each.item.id for each in first.changed] == ["forget-9", "forget-10", "forget-100"]
    assert second.task == "retain_task"


def test_the_page_counts_what_came_back_anywhere():
    text = items_page(
        evidence(flips("nf4", back=[item(2)], lost=[item(5)], same=7), flips("awq", back=[item(3)], same=8))
    )
    assert "Of 9 items that candidate was to forget, 2 came back at one precision or more (nf4, awq)." in text
    assert "No forget task was asked at a quantized precision" in items_page(evidence())


def test_ids_and_hashes_stand_there_and_texts_only_if_asked_for():
    made = evidence(flips("nf4", back=[item(2, target="SECRET", answer="ANSWER")]))
    text = items_page(made)
    assert "<code>000000000000</code>" in text
    assert "forget-2" in text
    assert "SECRET" not in text
    assert "ANSWER" not in text
    shown = items_page(made, show_items=True)
    assert "SECRET" in shown
    assert "nf4: ANSWER" in shown


def test_a_page_links_to_the_report_only_where_it_lies_beside_it():
    assert 'href="report.html"' in items_page(evidence(flips("nf4")), report="report.html")
    assert "<a " not in items_page(evidence(flips("nf4")))


def test_what_is_not_listed_is_counted():
    made = evidence(flips("nf4", back=[item(number) for number in range(MOST + 3)]))
    (task,) = items_of(made)
    assert (len(task.changed), task.hidden) == (MOST, 3)
    text = items_page(made)
    assert "and 3 more, in samples/" in text
    assert f"Of {MOST + 3} items" in text


def test_hostile_names_stay_text():
    text = items_page(hostile_evidence(), show_items=True)
    assert "<script>alert(1)" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<img" not in text


def test_twenty_suites_at_six_precisions_are_a_page():
    assert len(items_page(wide_evidence())) < 20_000_000
