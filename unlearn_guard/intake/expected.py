"""Which tensors a config implies, and whether exactly those are on disk.

transformers fills a tensor that is missing with random numbers and says so in a log line: such a model
has forgotten, too. This is the only file of intake that imports torch, and only when it is called.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import shown
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.weights import Tensor

Shapes = Mapping[str, tuple[int, ...]]

OLD_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids)$")
"""Buffers that older releases stored and newer ones compute: never read, so harmless on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Names and shapes of a model's tensors, in each layout that transformers loads.

    `layouts` holds the model's own names, the names it is saved under where these differ (the experts of
    a mixture are stored one by one), and those without the base model's prefix. `tied` pairs names
    that share one tensor, of which either may be absent. `ignorable` are patterns of buffers the model class skips.
    """

    layouts: tuple[Shapes, ...]
    tied: tuple[tuple[str, str], ...]
    ignorable: tuple[str, ...]


def expected_tensors(config_dir: Path) -> Expected:
    """The tensors that config.json implies, from a model without storage (torch's meta device).

    Call it after `open_checkpoint` has passed the config. Costs the import of torch and about 0.1 s; the
    answer depends on the config alone, so it may be kept under `Intake.config_digest`. Raises
    CheckpointError where transformers has no such language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.core_model_loading import revert_weight_conversion

    try:
        config = AutoConfig.from_pretrained(str(config_dir), trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except _config_errors() as error:
        found = f"a config that transformers refuses ({type(error).__name__}: {shown(str(error))})"
        expected = "a causal language model that transformers implements"
        fix = "Mend the config, or install a transformers release that knows the model."
        defect = Defect(where="config.json", found=found, expected=expected, fix=fix)
        raise CheckpointError("No model can be built from config.json", [defect]) from error
    state = model.state_dict()
    saved = revert_weight_conversion(model, dict(state))
    own, stored = _shapes(state), _shapes(saved)
    layouts = [own] if own == stored else [stored, own]
    prefix = f"{model.base_model_prefix}."
    layouts += [{name.removeprefix(prefix): shape for name, shape in layout.items()} for layout in tuple(layouts)]
    tied = dict(model.all_tied_weights_keys)
    bare = {name.removeprefix(prefix): source.removeprefix(prefix) for name, source in tied.items()}
    ties = [*tied.items(), *(pair for pair in bare.items() if pair not in tied.items())]
    ignorable = tuple(sorted(model._keys_to_ignore_on_load_unexpected or ()))
    return Expected(layouts=tuple(layouts), tied=tuple(ties), ignorable=ignorable)


def _config_errors() -> tuple[type[Exception], ...]:
    """What transformers raises on a config it does not like; it has no class of its own for that."""
    from huggingface_hub.errors import StrictDataclassError

    plain = (ValueError, TypeError, KeyError, AttributeError, ImportError, ArithmeticError, RuntimeError, OSError)
    return (*plain, StrictDataclassError)


def _shapes(state: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}  # type: ignore[attr-defined]


def assert_tensors(intake: Intake, expected: Expected) -> None:
    """The tensors on disk are exactly those the config implies; else CheckpointError with all that differ.

    Tolerated and only these: stored rotary `inv_freq` and `position_ids` buffers, buffers that the model
    class itself skips, and a tied tensor that is absent, or present with the very bytes of the one it is
    tied to (with other bytes it depends on the release of transformers which of them is used).
    """
    attempts = [_differences(intake.tensors, layout, expected) for layout in expected.layouts]
    defects = min(attempts, key=len)
    if defects:
        fix = "Save the model again with `save_pretrained`, or correct config.json."
        summary = f"{shown(intake.location)}: its tensors are not those its config.json implies"
        raise CheckpointError(summary, defects, fix=fix)


def _differences(tensors: Iterable[Tensor], layout: Shapes, expected: Expected) -> list[Defect]:
    found = {tensor.name: tensor for tensor in tensors}
    ignorable = [re.compile(pattern) for pattern in expected.ignorable]
    defects = []
    for name in sorted(set(layout) | set(found)):
        where = f"tensor {shown(name)}"
        if name not in found:
            partners = {other for pair in expected.tied if name in pair for other in pair}
            if not partners & set(found):
                shape = list(layout[name])
                defects.append(Defect(where=where, found="nothing", expected=f"shape {shape}"))
        elif name not in layout:
            if not OLD_BUFFERS.search(name) and not any(pattern.search(name) for pattern in ignorable):
                extra = f"a tensor of shape {list(found[name].shape)} in {found[name].file.name}"
                defects.append(Defect(where=where, found=extra, expected="no such tensor"))
        elif found[name].shape != layout[name]:
            actual = f"shape {list(found[name].shape)}"
            defects.append(Defect(where=where, found=actual, expected=f"shape {list(layout[name])}"))
    return defects + _untied(found, expected.tied)


def _untied(found: Mapping[str, Tensor], tied: Iterable[tuple[str, str]]) -> list[Defect]:
    defects = []
    for name, source in tied:
        if name in found and source in found and found[name].digest != found[source].digest:
            other = f"other values than {shown(source)}, to which config.json ties it"
            fix = "Leave it out, or set tie_word_embeddings to false."
            defects.append(Defect(where=f"tensor {shown(name)}", found=other, expected="the same bytes", fix=fix))
    return defects


def resolved_config(config: Mapping[str, object]) -> dict[str, object] | None:
    """The config with transformers' defaults and renamed keys filled in; None where it knows no such model_type.

    Two releases write one model differently (`rope_theta` became `rope_parameters`): compared in this
    form they are equal.
    """
    from transformers import CONFIG_MAPPING

    model_type = config.get("model_type")
    if model_type not in CONFIG_MAPPING:
        return None
    try:
        filled: dict[str, object] = json.loads(CONFIG_MAPPING[model_type].from_dict(dict(config)).to_json_string(False))
    except _config_errors():
        return None  # the literal differences then stand
    return filled
