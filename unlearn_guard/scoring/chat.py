"""Prompts as a deployed model sees them: through base's chat template."""

from typing import Any

from jinja2 import TemplateError

from unlearn_guard.errors import UsageError

DATE = "10 Apr 2025"
"""The day that a template which prints one is told: a prompt must not change from day to day. open-unlearning's."""

SYSTEM_LEFT_OUT = "base's chat template takes no system message, so tasks' descriptions were left out, as lm-eval does"


class Chat:
    """A tokenizer's chat template as lm-eval applies it: messages to one text.

    Where the template refuses a system message (a task's description), it is left out, and `notes` says so.
    Raises UsageError for a tokenizer without a template.
    """

    def __init__(self, tokenizer: Any, *, wanted_by: str = "--apply-chat-template") -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError(
                f"{wanted_by}, but base's tokenizer has no chat template",
                fix="Ask without one, or give a base whose tokenizer_config.json has a chat_template.",
            )
        self._tokenizer = tokenizer
        self.notes: tuple[str, ...] = ()

    def __call__(self, messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        """The conversation as text, up to where the model is to go on."""
        try:
            return self._apply(messages, add_generation_prompt)
        except TemplateError:
            rest = [message for message in messages if message["role"] != "system"]
            text = self._apply(rest, add_generation_prompt)
            self.notes = (SYSTEM_LEFT_OUT,)
            return text

    def _apply(self, messages: list[dict[str, Any]], opened: bool) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=opened,
                continue_final_message=not opened,
                date_string=DATE,
            )
        )
