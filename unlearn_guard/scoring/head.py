"""The output head, asked at some places only: what it reads has to lie in one piece.

`logits_to_keep` cuts the last places out of the hidden states. Of such a cut torch makes one product a row, each with
the whole vocabulary's weights, which a CPU copies first in bf16: 16 rows of a vocabulary of 49,152 took 1.8 s and 900
MB where the same numbers in one piece take 12 ms (docs/log/2026-11-28-output-head.md).
"""

from typing import Any
from weakref import WeakSet

_SEEN: "WeakSet[Any]" = WeakSet()


def in_one_piece(model: Any) -> None:
    """Have this model's head read what is in one piece, from now on."""
    head = getattr(model, "get_output_embeddings", lambda: None)()  # a third party's model need not have one
    if head is not None and head not in _SEEN:
        head.register_forward_pre_hook(_contiguous)
        _SEEN.add(head)


def _contiguous(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return (args[0].contiguous(), *args[1:]) if args else None
