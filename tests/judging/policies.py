"""Policies written to be read, about a suite of three tasks."""

import re

import pytest

from unlearn_guard.errors import ExitStatus, PolicyError
from unlearn_guard.judging.resolving import TaskRef
from unlearn_guard.judging.thresholds import read_policy, resolve
from unlearn_guard.records import Role

TASKS = (
    TaskRef(name="toy_forget", role=Role.FORGET, metric="acc"),
    TaskRef(name="toy_forget_rouge", role=Role.FORGET, metric="rougeL"),
    TaskRef(name="toy_retain", role=Role.RETAIN, metric="acc"),
)
PRECISIONS = ("full", "nf4", "gptq", "awq")
GOOD = '{metric: ptq_gap, task: "@forget", precision: nf4, at_most: 0.0, because: x}'


def written(tmp_path, text):
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def policy(tmp_path, *limits, head=""):
    text = f"version: 1\n{head}limits:\n" + "".join(f"  - {limit}\n" for limit in limits)
    return resolve(read_policy(written(tmp_path, text)), TASKS, PRECISIONS)


def refusal(tmp_path, text):
    with pytest.raises(PolicyError) as error:
        resolve(read_policy(written(tmp_path, text)), TASKS, PRECISIONS)
    assert error.value.exit_status is ExitStatus.USAGE
    return str(error.value)


def refused_limit(tmp_path, limit):
    text = refusal(tmp_path, f"version: 1\nlimits:\n  - {limit}\n")
    assert re.search(r"thresholds\.yaml:3: found ", text), text
    return text
