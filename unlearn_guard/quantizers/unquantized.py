"""What a format does not quantize, in a ready-made model: norms, biases, embeddings and head are the candidate's.

Each parameter stands in the files once: of two that become the same one, which is loaded is the loader's choice.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from unlearn_guard.environment import with_attention
from unlearn_guard.errors import Defect
from unlearn_guard.quantizers.coverage import Coverage
from unlearn_guard.quantizers.layers import read_tensor
from unlearn_guard.quantizers.nearest import roundings
from unlearn_guard.records import StoredTensor

_CODES = ("weight", "qweight", "weight_packed")
"""By what names the weights of a layer are stored; one of them."""

Files = Mapping[str, StoredTensor]


def unquantized_differences(
    artifact: Files, candidate: Files, found: Coverage, source: Path, *, moved: frozenset[str] = frozenset()
) -> Iterator[Defect]:
    """What in an artifact, besides its codes, is not the candidate's; `source` is the candidate's directory.

    Values may have been rounded to half precision. `moved` are parameters that the format itself changes; whoever says
    so has looked at them.
    """
    ties = _tied(source)
    owned, again = _by_own_name(artifact, {*candidate, *ties}, found)
    yield from again
    touched = {*found.linears, *(name.rpartition(".")[0] for name in moved)}
    yield from _stored_twice(owned, touched)
    units, left = frozenset(found.units), {name.rpartition(".")[0] for name in candidate if name not in found.units}
    for name in candidate:
        if name in units or name in moved:
            continue
        spellings = [name, *(alias for alias, to in ties.items() if to == name), *ties.get(name, "").split()]
        stored = next((owned[each] for each in spellings if each in owned), None)
        if stored is None:
            yield Defect(where=name, found="nothing by that name", expected="the candidate's own tensor")
        elif not same_values(read_tensor(candidate, name), read_tensor(artifact, stored)):
            yield Defect(where=name, found="other values than the candidate's", expected="the candidate's own tensor")
    for own, stored in owned.items():
        module, _, leaf = own.rpartition(".")
        if own in candidate or own in units:
            continue
        if own in ties and ties[own] in candidate:
            if not same_values(read_tensor(candidate, ties[own]), read_tensor(artifact, stored)):
                yield Defect(where=own, found=f"other values than {ties[own]}, to which it is tied", expected="none")
        elif leaf == "bias" and module in found.linears:
            if read_tensor(artifact, stored).count_nonzero():  # auto-gptq stored zeros where there was none
                yield Defect(where=own, found="a bias", expected="none, as in the candidate")
        elif module in left and module not in touched:
            yield Defect(where=own, found="a tensor that the candidate does not have", expected="none")


def _by_own_name(artifact: Files, known: set[str], found: Coverage) -> tuple[dict[str, str], list[Defect]]:
    """The file's name of each tensor by the model's own, the base model's prefix left out or put before it."""
    layers = {*found.linears, *found.experts}
    prefixes = {name.partition(".")[0] for name in known}
    owned: dict[str, str] = {}
    again: list[Defect] = []
    for stored in artifact:
        spelled = [stored, *(f"{prefix}.{stored}" for prefix in sorted(prefixes)), stored.partition(".")[2]]
        own = next((each for each in spelled if each in known or _of_layer(each, layers)), stored)
        if own in owned:
            both = f"{owned[own]} and {stored}, which both become it"
            again.append(Defect(where=own, found=both, expected="one of them"))
        owned[own] = stored
    return owned, again


def _of_layer(name: str, layers: set[str]) -> bool:
    """Whether a tensor belongs to one of these layers: `LAYER.weight.absmax` to LAYER."""
    parts = name.split(".")
    return any(".".join(parts[:cut]) in layers for cut in range(len(parts) - 1, 0, -1))


def _stored_twice(owned: Mapping[str, str], layers: set[str]) -> Iterator[Defect]:
    for layer in sorted(layers):
        held = [end for end in _CODES if f"{layer}.{end}" in owned]
        if len(held) > 1:
            yield Defect(where=layer, found=f"weights stored as {' and '.join(held)}", expected="one of them")


def _tied(source: Path) -> dict[str, str]:
    """The parameter that each tied name shares."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(with_attention(config), trust_remote_code=False)
    return dict(model.all_tied_weights_keys)


def same_values(ours: Tensor, theirs: Tensor) -> bool:
    """Whether one tensor holds the other's values, as stored or rounded to half precision."""
    return ours.shape == theirs.shape and any(torch.equal(each.to(theirs.dtype), theirs) for each in roundings(ours))
