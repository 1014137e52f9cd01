"""Open a checkpoint safely: nothing of it is executed, every defect is named, every byte that counts is hashed."""

from unlearn_guard.intake.answering import padding_ids
from unlearn_guard.intake.blueprint import Blueprint, blueprint
from unlearn_guard.intake.deployed import cleans_up, open_tokenizer
from unlearn_guard.intake.difference import Difference, assert_comparable, assert_reads_alike, compare
from unlearn_guard.intake.folder import FileState, is_small_text, may_run
from unlearn_guard.intake.inspection import Inspection, inspection
from unlearn_guard.intake.intake import Intake, assert_unchanged
from unlearn_guard.intake.judged import assert_judged, other_bytes
from unlearn_guard.intake.location import is_remote
from unlearn_guard.intake.manifest import Manifest
from unlearn_guard.intake.opening import Outline, look, open_checkpoint
from unlearn_guard.intake.packages import assert_packages
from unlearn_guard.intake.parameters import with_parameters
from unlearn_guard.intake.sealing import file_digests, write_release
from unlearn_guard.intake.tokenizer import Tokenizer
from unlearn_guard.intake.updates import Update
from unlearn_guard.intake.weights import Tensor

__all__ = [
    "Blueprint",
    "Difference",
    "FileState",
    "Inspection",
    "Intake",
    "Manifest",
    "Outline",
    "Tensor",
    "Tokenizer",
    "Update",
    "assert_comparable",
    "assert_judged",
    "assert_packages",
    "assert_reads_alike",
    "assert_unchanged",
    "blueprint",
    "cleans_up",
    "compare",
    "file_digests",
    "inspection",
    "is_remote",
    "is_small_text",
    "look",
    "may_run",
    "open_checkpoint",
    "open_tokenizer",
    "other_bytes",
    "padding_ids",
    "with_parameters",
    "write_release",
]
