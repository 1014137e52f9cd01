"""The words that a task asks in: its YAML decides them once, for what is asked and for what `unlearn` trains on.

Keys of a task's `metadata` say what lm-eval's format cannot: `chat_template: true`, the question is the user's turn
in base's own chat template (and `description` the system's); `end_of_text: true`, an answer ends with the tokenizer's
end-of-text token, which then counts as one of its tokens; `each_token: true`, the task's metric reads of each token
more than its likelihood (`answers.Nats`), which changes no word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from unlearn_guard.errors import SuiteError
from unlearn_guard.scoring.chat import Chat

_KEYS = ("chat_template", "end_of_text", "each_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """Which of them a task's metadata asks for."""

    chat_template: bool = False
    end_of_text: bool = False
    each_token: bool = False

    @classmethod
    def of(cls, metadata: Mapping[str, Any] | None) -> "Manner":
        """Raises ValueError for a key that is neither true nor false."""
        given = {key: value for key, value in (metadata or {}).items() if key in _KEYS}
        if wrong := {key: value for key, value in given.items() if not isinstance(value, bool)}:
            raise ValueError(f"metadata {wrong}; expected true or false")
        return cls(**given)

    @property
    def own(self) -> bool:
        """Whether the task decides its words by itself, so that no option changes them."""
        return self.chat_template or self.end_of_text


class Words:
    """How a tokenizer's model is asked: its chat template, made when a task first wants it, and its end of a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._chat: Chat | None = None

    @property
    def chat(self) -> Chat:
        """Raises UsageError for a tokenizer without a template."""
        if self._chat is None:
            self._chat = Chat(self._tokenizer, wanted_by="the suite's tasks ask in base's chat template")
        return self._chat

    @property
    def end(self) -> str:
        """The end-of-text token as text. Raises SuiteError for a tokenizer without one."""
        if not getattr(self._tokenizer, "eos_token", None):
            raise SuiteError("the suite's answers end with the end-of-text token, and base's tokenizer has none")
        return str(self._tokenizer.eos_token)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the template made otherwise."""
        return self._chat.notes if self._chat is not None else ()


class AskedAs:
    """The prompt and the answer that a task makes of a row: what it would be asked, without the task's own data."""

    def __init__(self, config: Mapping[str, Any], words: Words) -> None:
        self._config, self._words = config, words
        self._manner = Manner.of(config.get("metadata"))

    def prompt(self, row: Mapping[str, Any]) -> str:
        """The question as asked. Raises ValueError or TypeError where the row lacks what the task reads."""
        text = self._filled("doc_to_text", row)
        description = str(self._config.get("description") or "")
        if not self._manner.chat_template:
            return description + text
        system = [{"role": "system", "content": description}] if description else []
        return self._words.chat([*system, {"role": "user", "content": text}])

    def answer(self, text: str) -> str:
        """What follows the prompt."""
        delimiter = str(self._config.get("target_delimiter", " "))
        # lm-eval puts nothing between a turn's opening and its answer.
        start = "" if self._manner.chat_template else delimiter
        return start + text + (self._words.end if self._manner.end_of_text else "")

    def target(self, row: Mapping[str, Any]) -> str:
        """The right answer's text alone."""
        return self._filled("doc_to_target", row)

    def _filled(self, key: str, row: Mapping[str, Any]) -> str:
        from lm_eval.utils import apply_template

        form = str(self._config.get(key))
        if form in row:
            return str(row[form])
        if "{{" not in form:  # a function, or the place of a choice: neither says what another row would be asked
            raise ValueError(f"its {key} is {form!r}, and neither a column of the row nor a text that reads one")
        try:
            return str(apply_template(form, dict(row)))
        except TemplateError as error:
            raise ValueError(f"its {key}: {error}") from error


def asked_as(names: Sequence[str], include: Sequence[Path], tokenizer: Any) -> dict[str, AskedAs]:
    """By task name, how each asks. Raises SuiteError for a name that no task has, or that is a group's."""
    from unlearn_guard.scoring.loading import leaf_configs

    words, found = Words(tokenizer), {}
    for name in names:
        configs = leaf_configs([name], include, defaults=False)
        if len(configs) != 1:
            raise SuiteError(f"`asked: {name}` is a group of {len(configs)} tasks", fix="Name one of them.")
        found[name] = AskedAs(configs[0], words)
    return found
