"""Open a checkpoint safely: nothing of it is executed, every defect is named, every byte that counts is hashed."""

from unlearn_guard.intake.difference import Difference, assert_comparable, compare
from unlearn_guard.intake.expected import Expected, assert_tensors, expected_tensors
from unlearn_guard.intake.folder import FileState, may_run
from unlearn_guard.intake.inspection import Inspection, inspection
from unlearn_guard.intake.intake import Intake, assert_unchanged
from unlearn_guard.intake.manifest import Manifest
from unlearn_guard.intake.opening import open_checkpoint
from unlearn_guard.intake.packages import assert_packages
from unlearn_guard.intake.tokenizer import Tokenizer
from unlearn_guard.intake.updates import Update
from unlearn_guard.intake.weights import Tensor

__all__ = [
    "Difference",
    "Expected",
    "FileState",
    "Inspection",
    "Intake",
    "Manifest",
    "Tensor",
    "Tokenizer",
    "Update",
    "assert_comparable",
    "assert_packages",
    "assert_tensors",
    "assert_unchanged",
    "compare",
    "expected_tensors",
    "inspection",
    "may_run",
    "open_checkpoint",
]
