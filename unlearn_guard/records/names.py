"""Words that are reserved, and the names of what is measured on its own."""

from types import MappingProxyType

FULL = "full"
"""The precision of a checkpoint as it lies on disk; every other name is a quantizer's."""

ALL = "all"
"""Every precision that a model can be measured at here, in place of their names."""

WEIGHTS = "weights"
"""The reserved task name of measurements that look at weights, not at answers."""

SUITE = "suite"
"""The reserved task name of measurements that several tasks of a suite make together."""

CORRECTED = "_corrected"
"""What the name of a measurement without its bias ends in, beside the one as defined: `cad`, `cad_corrected`."""

CONFIDENCE_LEVELS = (0.90, 0.95, 0.99)
"""The levels at which intervals are computed while measuring, so that judging needs no samples."""

MODEL_UTILITY = "model_utility"

PRIVLEAK = "privleak"

FORGET_QUALITY = "forget_quality"

MIA = "mia_auc"
"""The measures that tasks may feed; each is also the metric's name."""

MIA_REFERENCE = "mia_reference"
"""What comes with `mia_auc` of the loss, where a model was scored that never saw the texts."""

REPETITION = "repetition"
"""How much of what a model wrote it had written before in the same answer."""

TIED = "tied"
"""How many of the items whose likeliest choice is the answer have two that are likeliest."""

RELEARN, PROBE, LENS, DEPTH = "relearn_recovery", "probe_recovery", "lens_recovery", "unlearning_depth"
RESIDUES = (RELEARN, PROBE, LENS, DEPTH)
"""What trials are made for: each is a metric's name."""

MEASURES = MappingProxyType({"relearn": RELEARN, "probe": PROBE, "lens": LENS, "depth": DEPTH})
"""The same by the short names of `check --measure`."""
