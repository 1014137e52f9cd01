"""The texts that GPTQ and AWQ calibrate on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.records import Role
from unlearn_guard.scoring.questions import Rendered


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The texts to calibrate on, and how many were passed over on the way because they were too short."""

    texts: tuple[str, ...]
    passed_over: int


def calibration_texts(rendered: Rendered, samples: int, *, length: Callable[[str], int], shortest: int) -> Chosen:
    """The first `samples` distinct texts of at least `shortest` tokens in the suite's calibration source, in order.

    A file holds one {"text": ...} a line. The source `retain` takes the retain tasks' prompts, the tasks
    in turn so that each is heard; the forget tasks' never, because a quantizer keeps best what it sees.
    A quantizer drops short texts without a word, so they are passed over here and counted.
    Raises SuiteError when the suite names no source, the file is broken, or there are too few texts.
    """
    source = rendered.suite.calibration
    if samples < 1:
        raise SuiteError(f"{samples} calibration samples; expected at least 1")
    if source is None:
        raise SuiteError(
            f"suite {rendered.suite.name!r} names no calibration source, which GPTQ and AWQ need",
            fix="Add `calibration: {file: ...}` or `calibration: {tasks: retain}` to it.",
        )
    texts = list(dict.fromkeys(_file_texts(source) if isinstance(source, Path) else _prompts(rendered)))
    chosen: list[str] = []
    passed_over = 0
    for text in texts:
        if len(chosen) == samples:
            break
        if length(text) >= shortest:
            chosen.append(text)
        else:
            passed_over += 1
    if len(chosen) < samples:
        name = source if isinstance(source, Path) else "the retain tasks"
        raise SuiteError(
            f"{name}: {len(texts)} different calibration texts, {len(chosen)} of them with at least {shortest} tokens; "
            f"{samples} are wanted",
            fix="Name longer texts in the suite (`calibration: {file: ...}`), ask for fewer (`samples`), "
            "or leave gptq and awq out: --precisions full,nf4.",
        )
    return Chosen(texts=tuple(chosen), passed_over=passed_over)


def _prompts(rendered: Rendered) -> list[str]:
    retain = [each for each in rendered.tasks if each.task.role is Role.RETAIN]
    queues = [[str(item.requests[0].args[0]) for item in each.items] for each in retain]
    longest = max(map(len, queues))
    return [queue[index] for index in range(longest) for queue in queues if index < len(queue) and queue[index]]


def _file_texts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"the calibration file {path} cannot be read: {error}") from error
    texts, defects = [], []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            entry = None
        text = entry.get("text") if isinstance(entry, dict) else None
        if isinstance(text, str) and text.strip():
            texts.append(text)
        else:
            defects.append(Defect(where=f"{path}:{number}", found=repr(line[:60]), expected='{"text": "..."}'))
    if defects:
        raise SuiteError(f"{path} is not a calibration file", defects[:20])
    return texts
