"""A run.json that was edited, and how it is refused."""

import json

import pytest

from unlearn_guard.errors import ExitStatus, RunDirectoryError
from unlearn_guard.runs.directory import read_run


def edited(out, change):
    path = out / "run.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return out


def refusal(out):
    with pytest.raises(RunDirectoryError) as error:
        read_run(out)
    assert error.value.exit_status is ExitStatus.USAGE
    return str(error.value)
