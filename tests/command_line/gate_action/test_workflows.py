"""What is written in the action and the workflows."""

import re
import subprocess
import sys
from pathlib import Path

from gate import ACTION, ROOT


def test_the_verdict_fails_without_a_check() -> None:
    """Were the check's outputs ever empty, the last step must not succeed."""
    text = (ACTION / "action.yml").read_text(encoding="utf-8")
    assert 'exit "${STATUS:-3}"' in text


def test_workflows_are_clean() -> None:
    tools = Path(sys.executable).parent
    files = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    done = subprocess.run([tools / "actionlint", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    done = subprocess.run(
        [tools / "zizmor", "--offline", ROOT / ".github"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_foreign_action_is_pinned_by_commit() -> None:
    for path in [*(ROOT / ".github").rglob("*.yml")]:
        for used in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert used.startswith("$/") or "OWNER" in used or re.search(r"@[0-9a-f]{40}$", used), (
                f"{path.name}: {used}"
            )


def test_every_python_of_the_action_has_a_safe_path() -> None:
    for path in ACTION.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"(?<![\w-])(?:\$\w+/)?python3? ", line.partition("#")[0]) and path.suffix != ".yml":
                assert "python -P -m " in line, f"{path.name}: {line}"
