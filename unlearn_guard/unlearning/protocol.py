"""What a method is: a frozen dataclass of hyperparameters with one function that edits a model in place.

A method's file ends with `METHOD = <class>`; the file's name is the method's name. Its docstring's first line is
what `list methods` shows.
"""

from typing import Protocol, runtime_checkable

from transformers import PreTrainedModel

from unlearn_guard.unlearning.corpora import Corpora


@runtime_checkable
class Method(Protocol):
    """Hyperparameters as fields, and the edit they describe."""

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Edit `model` in place so that it no longer knows the forget set.

        The model comes in the dtype it is stored in, on its device, and leaves in the same. The same seed on the
        same machine gives the same bytes. Raises UsageError where the corpora lack what the method needs.
        """
