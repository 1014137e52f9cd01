"""The frozen values that flow between the stages. Nothing here computes, reads a file or imports torch.

Everything the guard learns about a model is a `Measurement`; every rule is a `Limit` on one
measurement; a `Check` puts the two together and a `Verdict` is all the checks. Constructors only
refuse what cannot be true. Import every one of them from here.
"""

from unlearn_guard.records.calibrations import ON, Calibrated
from unlearn_guard.records.doses import Certificate, Dose, certificate
from unlearn_guard.records.doubt import Doubt, doubt
from unlearn_guard.records.lineage import UNRELATED, WITHIN, LayerLineage, Standing, lineage, standings
from unlearn_guard.records.measurement import Interval, Measurement
from unlearn_guard.records.model import TORCH_NAMES, Adapter, Checkpoint, Span, StoredTensor
from unlearn_guard.records.names import (
    ALL,
    CONFIDENCE_LEVELS,
    CORRECTED,
    DEPTH,
    FORGET_QUALITY,
    FULL,
    LENS,
    MEASURES,
    MIA,
    MIA_REFERENCE,
    MODEL_UTILITY,
    PRIVLEAK,
    PROBE,
    RELEARN,
    REPETITION,
    RESIDUES,
    SUITE,
    TIED,
    WEIGHTS,
)
from unlearn_guard.records.policy import Limit, Policy, Property
from unlearn_guard.records.run import Environment, Run, Stage
from unlearn_guard.records.scores import RATIO_OCTAVES, EdgeScores, LayerDrift, Sample, TaskScore
from unlearn_guard.records.serving import Agreement, Paired, Served
from unlearn_guard.records.task import Phrasing, Prompt, Role, Source, Task
from unlearn_guard.records.trials import BASE, CANDIDATE, CONTROL, Trial, Trials
from unlearn_guard.records.verdict import Check, Outcome, Verdict

__all__ = [
    "ALL",
    "BASE",
    "CANDIDATE",
    "CONFIDENCE_LEVELS",
    "CONTROL",
    "CORRECTED",
    "DEPTH",
    "FORGET_QUALITY",
    "FULL",
    "LENS",
    "MEASURES",
    "MIA",
    "MIA_REFERENCE",
    "MODEL_UTILITY",
    "ON",
    "PRIVLEAK",
    "PROBE",
    "RATIO_OCTAVES",
    "RELEARN",
    "REPETITION",
    "RESIDUES",
    "SUITE",
    "TIED",
    "TORCH_NAMES",
    "UNRELATED",
    "WEIGHTS",
    "WITHIN",
    "Adapter",
    "Agreement",
    "Calibrated",
    "Certificate",
    "Check",
    "Checkpoint",
    "Dose",
    "Doubt",
    "EdgeScores",
    "Environment",
    "Interval",
    "LayerDrift",
    "LayerLineage",
    "Limit",
    "Measurement",
    "Outcome",
    "Paired",
    "Phrasing",
    "Policy",
    "Prompt",
    "Property",
    "Role",
    "Run",
    "Sample",
    "Served",
    "Source",
    "Span",
    "Stage",
    "Standing",
    "StoredTensor",
    "Task",
    "TaskScore",
    "Trial",
    "Trials",
    "Verdict",
    "certificate",
    "doubt",
    "lineage",
    "standings",
]
