"""What each number of the policy is, in a sentence, where a report shows it."""

from unlearn_guard.records import DEPTH, LENS, PROBE, RELEARN, RESIDUES, Run

MEANINGS = {
    "forget_drop": "The share of base's accuracy on a forget task that is gone: 1 is all of it, 0 none.",
    "ptq_gap": (
        "Post-training quantization gap: accuracy of the quantized candidate less that of the same candidate in full "
        "precision, on a forget task. Above 0, quantizing brings knowledge back."
    ),
    "retain_drop": "Accuracy that the candidate lost on a retain task, both models at the same precision.",
    "dtype_gap": "Accuracy on a forget task that shows in another dtype than the run's, and not in this one.",
    "quantized_share": "The share of the weights that really is stored in 4 bits.",
    "calibration_spread": (
        "How much the choice of the texts and groups that a format is calibrated with moves the score on a forget task."
    ),
    "lineage": "Of a ready-made quantized model: the share of its layers that are shown to be made from the candidate.",
    "cad": (
        "Circuit attribution divergence: how far the edges that carry the answer in base have moved in the candidate, "
        "as a share of their weight. 0: the mechanism stands as it was; 1: it is gone."
    ),
    "as_c": "Attribution shift inside the circuit, as a share of all of base's attribution.",
    "as_nc": "Attribution shift outside the circuit, as a share of all of base's attribution: broad damage.",
    "code_flip_rate": "The share of 4-bit codes that differ from base's: what an edit leaves after rounding.",
    "floor_survival": "The share of changed weights whose 4-bit code changed too.",
    "above_chance_removed": "The share of what base knows above chance that is gone.",
    "paraphrase_recovery": (
        "Of what base knows, the share that a phrasing which nobody trained on still finds, beyond what the trained "
        "phrasings find; the phrasing that finds most counts. 0: other words find no more."
    ),
    "repetition": "The share of an answer's runs of four words that it has had before: near 1 is a loop.",
    "tied": "The share of items whose likeliest choice has an equal: the first of them counts as chosen.",
    RELEARN: (
        "Of what base knows beyond a control that never knew, the share that the candidate knows after it was taught a "
        "tenth of the facts, asked about others: the best of six attacks. 0: learnt fact by fact; 1: all of it is back."
    ),
    PROBE: "The same share, of what a linear probe reads off the hidden states; the control is shuffled labels.",
    LENS: "The same share, where the states of a layer go straight to the model's own head; the best layer.",
    DEPTH: (
        "How much of base's answers the candidate's layers no longer carry, when base goes on from their states: 0 "
        "where every layer carries all of them, 1 where none carries any."
    ),
    "recovery": "Of what was forgotten in full precision, the share that is back.",
}


_BESIDE = ("paraphrase_recovery", *RESIDUES)


def meanings(run: Run) -> tuple[tuple[str, str], ...]:
    """(metric, sentence) of those that the policy limits, in its order, then of what was measured beside its limits.

    None for a metric that has no sentence.
    """
    named = dict.fromkeys(limit.metric for limit in run.policy.limits)
    beside = dict.fromkeys(each.metric for each in run.measurements if each.metric in _BESIDE)
    return tuple((metric, MEANINGS[metric]) for metric in {**named, **beside} if metric in MEANINGS)
