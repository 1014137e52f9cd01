import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.oracles.made_scores import made_limit, made_run, made_scores
from unlearn_guard.reports.terminal import render


def printed(run, directory=None, *, verbose=True, measured=True, **console):
    file = io.StringIO()
    render(run, Console(file=file, **{"width": 80, **console}), directory, verbose=verbose, measured=measured)
    return file.getvalue()


MIXED = (
    made_limit("forget_drop", at_least=0.3),
    made_limit("cad", at_least=0.8),
    made_limit("forget_drop", precision="nf4", at_least=0.77, confidence=0.95),
    made_limit("ptq_gap", precision="nf4", at_most=0.0),
)


def mixed():
    return made_run(limits=MIXED, scores=made_scores(forget_nf4=21))[0]


def test_what_did_not_pass_comes_first_with_its_next_step():
    text = printed(mixed())
    table = text[text.index("Checks") :]
    order = [table.index(word) for word in (" FAILED", " INCONCLUSIVE", " NOT MEASURED", " passed")]
    assert order == sorted(order)
    assert len(re.findall("limit from: a test", text)) == 2  # where the other comes from does not help to measure it
    assert text.index("Checks") < text.index("limit from") < text.index("Scores")
    short = printed(mixed(), verbose=False)
    assert [short.count(word) for word in ("limit from: a test", "Checks", "Scores", "Stages")] == [2, 0, 0, 0]
    assert "FAILED: 1 broken" in text


def test_scores_of_base_and_candidate_stand_side_by_side():
    text = printed(mixed())
    assert re.search(r"forget_task \(forget\)\s+acc\s+full\s+0\.900\s+0\.200", text)
    assert re.search(r"forget_task \(forget\)\s+acc\s+nf4\s+-\s+0\.210", text)


def test_stages_notes_and_the_run_directory_are_named():
    text = printed(made_run()[0], Path("/tmp/runs/x"))
    assert re.search(r"score\s+full\s+1\.5", text)
    assert re.search(r"whole run\s+2\.5", text)
    assert "Note: a note" in text
    assert text.rstrip().endswith("Run directory: /tmp/runs/x")
    assert "PASSED: every one of 3 limits held." in text


def test_it_fits_80_columns_whatever_the_names():
    long = made_limit("forget_drop", task="a_task_with_a_name_that_goes_on_and_on_and_on_for_ever", at_least=0.3)
    for run in (mixed(), made_run(limits=(long, *MIXED))[0]):
        assert max(map(len, printed(run).splitlines())) <= 80


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_plain_where_colour_is_not_wanted(environment):
    console = {"_environ": environment, "force_terminal": bool(environment)}
    text = printed(mixed(), **console)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)


def test_colour_adds_nothing_to_the_words():
    coloured = printed(mixed(), force_terminal=True, color_system="256", _environ={})
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(mixed())


def test_hostile_names_are_escaped():
    run = replace(made_run()[0], suite="a\x1b[2J[red]b", notes=("\x1b]0;x\x07 [/bold]",))
    run = replace(run, candidate=replace(run.candidate, path=Path("x\x1b[31m\n::error::"), method="[link=x]m"))
    text = printed(run)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"a\x1b[2J[red]b" in text
    assert r"x\x1b[31m\n::error::" in text
    assert "[link=x]m" in text


def test_a_value_that_fails_never_reads_as_its_limit():
    scores = made_scores(retain=49)
    run = made_run(limits=(made_limit("retain_drop", task="retain_task", at_most=0.1499999999),), scores=scores)[0]
    row = next(line for line in printed(run).splitlines() if line.startswith("retain_drop"))
    assert "FAILED" in printed(run)
    assert re.search(r"0\.15", row)


def test_what_was_never_measured_is_one_row_and_one_step():
    precisions = ("gptq", "awq")
    limits = tuple(made_limit(metric, precision=each, at_least=0.3) for metric in ("forget_drop", "ptq_gap")
                   for each in precisions)  # fmt: skip
    text = printed(made_run(limits=(*limits, made_limit("forget_drop", at_least=0.3)))[0])
    assert text.count("4 limits: forget_drop, ptq_gap at gptq, awq") == 2
    assert "forget_drop[forget_task-gptq]" not in text.partition("Run directory")[0].partition("NOT ESTABLISHED")[0]
    assert " ".join(text.split()).count("Run check again with --precisions full,nf4,gptq,awq.") == 1


def test_a_long_name_does_not_push_the_verdict_away():
    run = made_run(limits=(made_limit("forget_drop", task="x" * 10_000, at_least=0.3),))[0]
    assert len(printed(run)) < 4_000


def test_the_short_form_is_a_sentence_the_properties_and_what_did_not_hold():
    text = printed(mixed(), Path("/tmp/runs/x"), verbose=False)
    assert "This model must not be released under the policy thresholds.yaml" in " ".join(text.split())
    assert re.search(r"(?m)^forgetting +FAILED +1 of 4 limits held$", text)
    assert "forget_drop[forget_task-full]" not in text, "what passed is a count"
    assert text.splitlines()[-2:] == ["Report: /tmp/runs/x/report.html", "Run directory: /tmp/runs/x"]


@pytest.mark.parametrize("width", [80, 120])
def test_no_name_is_split_where_it_fits_a_line(width):
    limits = tuple(made_limit("forget_drop", precision=each, at_least=0.99) for each in ("full", "nf4"))
    run = made_run(limits=limits, scores=made_scores(forget_nf4=21))[0]
    lines = printed(run, verbose=False, width=width).splitlines()
    for check in run.verdict.checks:
        assert any(check.id in line for line in lines)
    assert max(map(len, lines)) <= width


def test_times_of_stages_are_told_by_the_command_that_measured():
    assert "whole run" in printed(made_run()[0])
    assert "whole run" not in printed(made_run()[0], measured=False)


def test_colours_stand_out_on_black_and_on_white():
    """3 : 1, what WCAG asks of large text and of what is not text; the words say the same."""
    from unlearn_guard.reports.terminal import _STYLES

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for style in _STYLES.values():
        light = luminance(style.rpartition(" ")[2])
        assert (light + 0.05) / 0.05 >= 3
        assert 1.05 / (light + 0.05) >= 3
