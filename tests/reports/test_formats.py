from dataclasses import replace

from tests.oracles.made_scores import made_run, made_score, made_scores, made_task, ones
from unlearn_guard.records import FULL
from unlearn_guard.reports import formats

FORGET = made_task(100)


def brought_back(**right: int):
    """A run whose candidate answers 20 of 100 in full precision and so many in each of these formats."""
    more = tuple(made_score(FORGET, ones(count, 100), precision=name) for name, count in right.items())
    return made_run(scores=(*made_scores()[:2], *more, *made_scores()[3:]), limits=())[0]


def test_the_worst_format_is_named_with_its_gap_and_interval():
    run = brought_back(nf4=25, gptq=85, awq=10)
    gap = next(each for each in run.measurements if each.metric == "ptq_gap" and each.precision == "gptq")
    interval = gap.interval(0.95)
    expected = f"Worst over 3 formats: forget_task gptq 0.650 [{interval.low:.3f}, {interval.high:.3f}]"
    assert formats.worst(run) == expected
    assert gap.value == 0.65


def test_one_format_is_not_several_and_none_has_no_line():
    assert formats.worst(brought_back(nf4=10)).startswith("Worst over 1 format: forget_task nf4 -0.100 [")
    assert formats.worst(made_run(scores=made_scores()[:2], limits=())[0]) is None


def test_no_gap_is_rounded_across_its_limit():
    run, _ = made_run()
    limit = replace(run.verdict.checks[1].limit, at_most=0.0)
    tiny = replace(next(each for each in run.measurements if each.metric == "ptq_gap"), value=1e-7)
    check = replace(run.verdict.checks[1], limit=limit, measurement=tiny)
    told = formats.worst(replace(run, measurements=(tiny,), verdict=replace(run.verdict, checks=(check,))))
    assert " 0.0000001 [" in told


def test_each_format_is_a_line_with_base_candidate_and_intervals():
    (chart,) = formats.by_format(brought_back(nf4=85))
    full, nf4 = chart.lines
    assert (full.name, nf4.name, nf4.y, chart.height) == (FULL, "nf4", formats.STEP, 2 * formats.STEP)
    assert (full.base.x, full.candidate.x, nf4.candidate.x) == (0.9 * 290, 0.2 * 290, 0.85 * 290)
    assert nf4.base is None
    assert full.candidate.low < full.candidate.x < full.candidate.high
    assert full.text.startswith("0.90 to 0.20 [0.1")
    assert nf4.text.startswith("0.85 [0.7")
    assert chart.rows[1][:2] == ("nf4", "-")
    assert chart.without == (72.5, "chance 0.25")
    assert chart.summary == f"full: {full.text}; nf4: {nf4.text}"


def test_a_score_without_an_interval_is_a_point():
    run = brought_back(nf4=85)
    bare = replace(run, measurements=tuple(replace(each, intervals=()) for each in run.measurements))
    (chart,) = formats.by_format(bare)
    spot = chart.lines[0].candidate
    assert (spot.low, spot.high) == (spot.x, spot.x)
    assert chart.lines[0].text == "0.90 to 0.20"
    assert formats.worst(bare) == "Worst over 1 format: forget_task nf4 0.650"
