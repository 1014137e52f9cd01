"""What whoever quantizes might calibrate on, from the suite's own questions: what should stay, and what should not."""

from collections.abc import Callable, Iterator

from unlearn_guard.errors import SuiteError
from unlearn_guard.records import Role
from unlearn_guard.scoring.questions import Item, Rendered

CHOICES = ("retain", "near-forget", "forget")
"""Retain questions with their answers, forget questions without, and with: the forget text itself."""


def choice_texts(
    rendered: Rendered, choice: str, samples: int, *, length: Callable[[str], int], shortest: int
) -> tuple[str, ...]:
    """At most `samples` texts of a choice, the tasks in turn; what is shorter than `shortest` tokens joins the next.

    Raises SuiteError where all of them together are too short.
    """
    role, answered = Role.RETAIN if choice == "retain" else Role.FORGET, choice != "near-forget"
    queues = [each.items for each in rendered.tasks if each.task.role is role]
    longest = max((len(queue) for queue in queues), default=0)
    turns = (queue[index] for index in range(longest) for queue in queues if index < len(queue))
    texts = dict.fromkeys(_text(item, answered=answered) for item in turns)
    found = [*_packed([text for text in texts if text.strip()], samples, length=length, shortest=shortest)]
    if not found:
        raise SuiteError(
            f"the {role} questions of {rendered.suite.name} have fewer than {shortest} tokens together, too few to "
            "calibrate on",
            fix="Leave `--calibration worst` out.",
        )
    return tuple(found)


def _packed(texts: list[str], samples: int, *, length: Callable[[str], int], shortest: int) -> Iterator[str]:
    held, made = "", 0
    for text in texts:
        held = f"{held}\n{text}" if held else text
        if length(held) >= shortest:
            yield held
            held, made = "", made + 1
            if made == samples:
                return


def _text(item: Item, *, answered: bool) -> str:
    """A question, and the answer that counts as right."""
    first = item.requests[0].args
    if len(first) == 1:
        return str(first[0])
    if not answered:
        return str(first[0])
    if len(item.requests) > 1 and item.target.isdecimal() and int(item.target) < len(item.requests):
        return "".join(map(str, item.requests[int(item.target)].args[:2]))
    return f"{first[0]}{first[1]}" if isinstance(first[1], str) else f"{first[0]} {item.target}"
