"""How questions are asked and trained on: in letters as WMDP asks, by their texts, or for a written answer."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from unlearn_guard.authoring.entry import Entry

Ask = Literal["letters", "texts"]

FEWEST_LETTERED = 4
"""With as many choices `unlearn` letters a question anew each time it is seen."""

_LETTERED = (
    "{{question}}\n{% for choice in choices %}{{'" + ascii_uppercase + "'[loop.index0]}}. {{choice}}\n"
    "{% endfor %}Answer:"
)
_ASKED = "Question: {{question}}\nAnswer:"
_CHOICE = (("output_type", "multiple_choice"),)
_ACCURACY = (("metric_list", [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]),)


class Function(str):
    """A function of a file beside the task, as YAML names it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to ask a set of questions: the end of its task's name, its metric, and the keys of the definition."""

    ending: str
    metric: str
    keys: tuple[tuple[str, Any], ...]
    paired: bool = True


def forms_of(entries: Sequence[Entry], ask: Ask, about: str | None) -> tuple[Form, ...]:
    """How these questions are asked: one task of choices; of answers to be written, ROUGE-L recall and probability."""
    if not entries[0].choices:
        return _written()
    if ask == "texts":
        keys = (*_CHOICE, ("doc_to_text", _ASKED), ("doc_to_choice", "choices"), ("doc_to_target", "answer"))
        return (Form(ending="", metric="acc", keys=(*keys, *_ACCURACY)),)
    counts = {len(each.choices) for each in entries}
    letters = f"{{{{'{ascii_uppercase}'[:choices|length]|list}}}}"
    keys = (
        *_CHOICE,
        *((("description", preface(about)),) if about else ()),
        ("doc_to_text", _LETTERED),
        ("doc_to_choice", list(ascii_uppercase[: counts.pop()]) if len(counts) == 1 else letters),
        ("doc_to_target", "answer"),
    )
    return (Form(ending="", metric="acc", keys=(*keys, *_ACCURACY)),)


def preface(about: str | None) -> str:
    """The line that WMDP and MMLU put before a lettered question."""
    return f"The following are multiple choice questions (with answers) about {about}.\n\n" if about else ""


def _written() -> tuple[Form, ...]:
    """As TOFU asks, by the functions of its tasks, which are copied beside the suite's."""
    mean = {"aggregation": "mean", "higher_is_better": True}
    rouge = (
        ("output_type", "generate_until"),
        # no stop string: a model that begins with a line break has not yet said nothing
        ("generation_kwargs", {"until": [], "do_sample": False, "max_gen_toks": 200}),
        ("doc_to_text", _ASKED),
        ("doc_to_target", "answer"),
        ("process_results", Function("answers.recall")),
        ("metric_list", [{"metric": "rougeL_recall", **mean}]),
    )
    probability = (
        *_CHOICE,
        ("doc_to_text", _ASKED),
        ("doc_to_choice", Function("answers.the_answer")),
        ("doc_to_target", 0),
        ("process_results", Function("answers.probability")),
        ("metric_list", [{"metric": "prob", **mean}]),
    )
    return (
        Form(ending="_rouge", metric="rougeL_recall", keys=rouge),
        Form(ending="_prob", metric="prob", keys=probability, paired=False),
    )


def task_text(name: str, file: str, form: Form) -> str:
    """A task's definition as lm-eval reads it: YAML whose values are JSON."""
    keys = (
        ("task", name),
        ("custom_dataset", Function("utils.load")),
        ("dataset_kwargs", {"file": file}),
        ("test_split", "test"),
        ("num_fewshot", 0),
        *form.keys,
        ("metadata", {"version": 1}),
    )
    return "".join(f"{key}: {_yaml(value)}\n" for key, value in keys)


def _yaml(value: Any) -> str:
    if isinstance(value, Function):
        return f"!function {value}"
    if isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum() and value[0].isalpha():
        return value
    return json.dumps(value, ensure_ascii=False)


def item(entry: Entry) -> dict[str, Any]:
    """A line of the file that a task asks from."""
    if not entry.choices:
        return {"question": entry.question, "answer": entry.answer}
    return {"question": entry.question, "choices": list(entry.choices), "answer": entry.right}


def training(entry: Entry, ask: Ask) -> Iterator[dict[str, Any]]:
    """What `unlearn` trains on where the user gives no texts: the question as it is asked, and its answer in words."""
    prompt = f"Question: {entry.question}\nAnswer:"
    if not entry.choices:
        yield {"prompt": prompt, "answer": f" {entry.answer}"}
        return
    in_words = {"answer": f" {entry.answer}", "wrong": [f" {each}" for each in entry.wrong]}
    if ask == "texts":
        yield {"prompt": prompt, **in_words}
        return
    yield {"prompt": entry.question, **in_words}
    if len(entry.choices) >= FEWEST_LETTERED:
        yield item(entry)
        return
    letters = [f" {letter}" for letter in ascii_uppercase[: len(entry.choices)]]
    options = "".join(f"{letter[1:]}. {choice}\n" for letter, choice in zip(letters, entry.choices, strict=True))
    right = letters.pop(entry.right)
    yield {"prompt": f"{entry.question}\n{options}Answer:", "answer": right, "wrong": letters}
