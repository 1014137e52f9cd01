from dataclasses import replace

from tests.oracles.made_scores import BASE, CANDIDATE, made_run, made_score, made_scores, made_task, ones
from unlearn_guard.records import Role
from unlearn_guard.reports import retention

KEPT = made_task(10, "kept", Role.RETAIN)


def test_base_and_candidate_stand_on_one_line_from_nothing_to_all():
    (full,) = retention.kept(made_run()[0])
    (line,) = full.lines
    assert full.title == "Score at full"
    # 58 of 60 by base, 57 of 60 by the candidate, on a line of 290 units.
    assert (line.base, line.candidate) == (round(290 * 58 / 60, 1), round(290 * 57 / 60, 1))
    assert (line.name, line.text) == ("retain_task, acc", "0.97 to 0.95")
    assert full.rows == (("retain_task, acc", "0.9667", "0.95", "0.01667"),)


def test_each_precision_has_its_own_base():
    quantized = (made_score(KEPT, ones(9, 10), BASE, "nf4"), made_score(KEPT, ones(3, 10), CANDIDATE, "nf4"))
    whole = (made_score(KEPT, ones(10, 10), BASE), made_score(KEPT, ones(10, 10)))
    full, nf4 = retention.kept(made_run(scores=(*made_scores()[:2], *whole, *quantized), limits=())[0])
    assert full.rows == (("kept, acc", "1", "1", "0"),)
    assert nf4.rows == (("kept, acc", "0.9", "0.3", "0.6"),)
    assert nf4.title == "Score at nf4"


def test_a_score_that_was_not_measured_is_drawn_nowhere():
    (full,) = retention.kept(made_run(scores=made_scores()[:4], limits=())[0])
    (line,) = full.lines
    assert (line.base is None, line.candidate) == (False, None)
    assert full.rows[0][2:] == ("-", "-")
    assert line.text == "0.97 to -"


def test_without_a_retain_task_there_is_no_picture():
    assert retention.kept(made_run(scores=made_scores()[:3], limits=())[0]) == ()


def test_of_many_tasks_those_that_lost_most_are_drawn_and_every_one_is_listed():
    run, _ = made_run()
    tasks, measured = [], []
    for index in range(50):
        name = f"task{index}"
        tasks.append(replace(KEPT, name=name))
        template = next(each for each in run.measurements if each.metric == "acc")
        # The tenth to the thirty-ninth lose most.
        lost = 0.5 if 10 <= index < 40 else 0.01
        for subject, value in ((BASE, 0.9), (CANDIDATE, 0.9 - lost)):
            measured.append(replace(template, task=name, subject=subject, value=value, precision="full"))
    (full,) = retention.kept(replace(run, tasks=tuple(tasks), measurements=tuple(measured)))
    assert [line.name for line in full.lines] == [f"task{index}, acc" for index in range(10, 40)]
    assert (len(full.rows), full.hidden) == (50, 20)
