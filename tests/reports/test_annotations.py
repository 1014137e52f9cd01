import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracles.made_evidence import VERDICTS, hostile_run, wide_evidence
from tests.oracles.made_scores import made_limit, made_run
from unlearn_guard.reports.annotations import MOST, annotations

COMMAND = re.compile(r"^::(error|warning) ([^:]*)::([^\r\n]*)$")


def test_a_pass_has_none():
    assert annotations(VERDICTS["passed"]()) == ()


def test_they_lie_on_the_policy_s_lines_worst_first():
    lines = annotations(VERDICTS["failed"]())
    assert [COMMAND.match(line)[1] for line in lines] == ["error", "warning"]
    assert lines[0].startswith(
        "::error file=thresholds.yaml,title=FAILED ptq_gap[forget_task-nf4],line=11::value 0.650"
    )
    assert ",line=15::" in lines[1]


def test_the_most_negative_margin_comes_first():
    limits = tuple(made_limit("forget_drop", at_least=bound, line=line) for line, bound in ((1, 0.8), (2, 0.99)))
    first, second = annotations(made_run(limits=limits)[0])
    assert ("line=2" in first, "line=1" in second) == (True, True)


def test_there_are_never_more_than_ten():
    lines = annotations(wide_evidence().run)
    assert len(lines) == MOST
    assert re.search(r"::\d+ more limits did not hold", lines[-1])


def test_a_partial_run_says_so():
    (line,) = annotations(made_run(complete=False)[0])
    assert line.startswith("::error title=unlearn-guard::NOT ESTABLISHED")


def test_hostile_names_cannot_begin_a_command():
    lines = annotations(hostile_run())
    assert lines
    for line in lines:
        _, properties, message = COMMAND.match(line).groups()
        assert set(re.findall(r"(?:^|,)(\w+)=", properties)) <= {"file", "title", "line"}
        assert "\x1b" not in line
        assert "%0A" not in message.replace("%250A", "")
        assert len(line) < 4000


@pytest.mark.parametrize(
    ("path", "file"), [("paper", None), ("p/x.yml", "p/x.yml"), (str(Path.cwd() / "x.yaml"), "x.yaml")]
)
def test_only_a_policy_that_is_a_file_is_named(path, file):
    run = VERDICTS["failed"]()
    line = annotations(replace(run, policy=replace(run.policy, path=path)))[0]
    assert (f"file={file}," in line) if file else ("file=" not in line)
