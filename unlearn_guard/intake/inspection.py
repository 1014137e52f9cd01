"""What `inspect` shows: the facts of a checkpoint, and what was edited since base. Printing is the caller's."""

from collections import Counter
from dataclasses import dataclass

from unlearn_guard.intake.config import text_config
from unlearn_guard.intake.defects import plain
from unlearn_guard.intake.difference import Difference, compare
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.updates import Update, update


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`facts` are (label, text) in the order to show; `updates` the edited tensors, the largest relative norm first."""

    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    difference: Difference | None
    updates: tuple[Update, ...]


def inspection(candidate: Intake, base: Intake | None = None) -> Inspection:
    """The facts of a candidate; with a base, the difference and the relative update norm of each edited tensor.

    Both went through `with_parameters`.
    """
    facts = _facts(candidate)
    if base is None:
        return Inspection(facts=facts, notes=candidate.notes, difference=None, updates=())
    difference = compare(base, candidate)
    before, after = ({each.name: each for each in side.checkpoint.tensors} for side in (base, candidate))
    updates = [update(before[name], after[name]) for name in difference.changed]
    known = sorted((each for each in updates if each is not None), key=lambda each: (-(each.relative or 0), each.name))
    more = (
        ("base", base.checkpoint.digest),
        ("tensors changed", f"{len(difference.changed)} of {difference.tensors}"),
        ("weights changed", f"{sum(each.changed for each in known)} of {candidate.parameters}"),
    )
    notes = (*candidate.notes, *difference.notes)
    return Inspection(facts=facts + more, notes=notes, difference=difference, updates=tuple(known))


def _facts(intake: Intake) -> tuple[tuple[str, str], ...]:
    config = text_config(intake.config)
    dtypes = Counter[str]()
    for tensor in intake.tensors:
        dtypes[tensor.dtype] += tensor.elements
    stored = sum(tensor.stop - tensor.start for tensor in intake.tensors)
    layers = config.get("num_hidden_layers", config.get("n_layer", "?"))
    width = config.get("hidden_size", config.get("n_embd", "?"))
    shape = plain(f"{layers} layers, width {width}, vocabulary {config.get('vocab_size', '?')}")
    made_by = intake.manifest.method if intake.manifest and intake.manifest.method else "not said"
    adapter = intake.adapter
    return (
        ("digest", intake.checkpoint.digest),
        *((("adapter", f"{adapter.digest}, merged into base by peft {adapter.peft}"),) if adapter else ()),
        ("precision", intake.checkpoint.precision),
        ("architecture", plain(", ".join(intake.config.get("architectures") or [str(intake.config["model_type"])]))),
        ("size", shape),
        ("parameters", f"{intake.parameters} in {len(intake.tensors)} tensors, {stored} bytes"),
        ("dtype", ", ".join(f"{name} ({count})" for name, count in dtypes.most_common())),
        ("weights", intake.weights_digest),
        ("config", intake.config_digest),
        ("tokenizer", f"{intake.tokenizer_digest} ({intake.tokenizer.size or 'unknown'} ids)"),
        ("chat template", "none" if intake.template is None else f"{len(intake.template)} characters"),
        ("method, by its maker", plain(made_by)),
    )
