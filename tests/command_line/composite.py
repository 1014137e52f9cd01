"""A composite action's steps on this machine, with the files that GitHub's runner would give them.

    python tests/command_line/composite.py .github/actions/gate checkpoint=./candidate thresholds=organism package=

Only what our actions use is understood: `run` steps in bash, `if: inputs.NAME != ''`, and the expressions
`inputs.NAME` and `steps.ID.outputs.NAME`; a step that `uses` another action is named and not run. Anything else is an
error and not a guess.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_CONDITION = re.compile(r"inputs\.([\w-]+) != ''")


@dataclass
class Played:
    """What the steps left: the exit status of the first that failed, or 0."""

    status: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    steps: list[str] = field(default_factory=list)


def play(action: Path, inputs: dict[str, str], workspace: Path, environment: dict[str, str]) -> Played:
    """Run the action in `workspace`; a step that fails ends it, as on GitHub."""
    definition = YAML(typ="safe").load((action / "action.yml").read_text(encoding="utf-8"))
    unknown = set(inputs) - set(definition["inputs"])
    if unknown:
        raise ValueError(f"the action has no input {sorted(unknown)}")
    context = {
        f"inputs.{name}": inputs.get(name, each.get("default", "")) for name, each in definition["inputs"].items()
    }
    missing = [name for name, each in definition["inputs"].items() if each.get("required") and name not in inputs]
    if missing:
        raise ValueError(f"the action needs {missing}")
    played = Played()
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary"
        summary.touch()
        for step in definition["runs"]["steps"]:
            if not _wanted(step, context):
                continue
            if "uses" in step:  # another action, which GitHub runs
                played.steps.append(step["name"])
                continue
            files = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTION_PATH": str(action.resolve())}
            files["GITHUB_WORKSPACE"] = str(workspace)
            status = _step(step, context, played, Path(folder), workspace, environment | files)
            if status:
                played.status = status
                break
        played.summary = summary.read_text(encoding="utf-8")
    played.outputs = {name: _filled(each["value"], context) for name, each in definition["outputs"].items()}
    return played


def _wanted(step: dict[str, Any], context: dict[str, str]) -> bool:
    if "if" not in step:
        return True
    match = _CONDITION.fullmatch(step["if"])
    if match is None:
        raise ValueError(f"cannot evaluate if: {step['if']}")
    return context[f"inputs.{match[1]}"] != ""


def _step(
    step: dict[str, Any],
    context: dict[str, str],
    played: Played,
    folder: Path,
    workspace: Path,
    environment: dict[str, str],
) -> int:
    assert step["shell"] == "bash"
    assert "${{" not in step["run"], "an expression inside of a script could carry code; hand it over in env"
    script, output = folder / "script.sh", folder / "output"
    script.write_text(step["run"], encoding="utf-8")
    output.write_text("", encoding="utf-8")
    given = {name: _filled(str(value), context) for name, value in step.get("env", {}).items()}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=workspace,
        env=environment | given | {"GITHUB_OUTPUT": str(output)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    played.log += done.stdout
    played.steps.append(step["name"])
    for line in output.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        context[f"steps.{step['id']}.outputs.{name}"] = value
    return done.returncode


def _filled(text: str, context: dict[str, str]) -> str:
    # An output that a step never wrote is empty on GitHub; an input that does not exist is our mistake.
    return _EXPRESSION.sub(
        lambda match: context[match[1]] if match[1].startswith("inputs.") else context.get(match[1], ""), text
    )


if __name__ == "__main__":
    told = play(Path(sys.argv[1]), dict(each.split("=", 1) for each in sys.argv[2:]), Path.cwd(), dict(os.environ))
    print(told.log, told.summary, told.outputs, sep="\n")
    sys.exit(told.status)
