"""Whether a published reference belongs to a base such as this one."""

from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_guard.records import PRIVLEAK, Task

LLAMA_2_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
}
"""The shape of the models whose retrained AUC MUSE has published: Llama-2-7B for news, ICLM-7B for books."""


def foreign_reference(tasks: Sequence[Task], config: Mapping[str, Any], *, retrained: bool) -> tuple[str, ...]:
    """A note where `privleak` is held against the published AUC of a retrained model, and base is of another shape.

    The shape says no more than that it could be the same family; nothing where `--retrained` gives its own AUC.
    """
    named = [task.name for task in tasks if task.measure == PRIVLEAK and task.retrained is not None]
    other = [key for key, value in LLAMA_2_7B.items() if config.get(key) != value]
    if retrained or not named or not other:
        return ()
    return (
        f"privleak of {', '.join(named)} is held against the published AUC of a retrained model of Llama-2-7B's shape, "
        f"and base is of another ({', '.join(other)}): give --retrained PATH to compare with one of its own",
    )
