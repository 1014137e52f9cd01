import pytest

from unlearn_guard.judging.metrics import METRICS, guarded_by, score
from unlearn_guard.records import FULL, Property, Role

DESIGN = {"forget_drop", "ptq_gap", "retain_drop", "cad", "as_nc", "as_c", "activation_shift_c", "activation_shift_nc",
          "quantized_share", "code_flip_rate", "update_to_bin", "floor_survival", "above_chance_removed", "recovery",
          "privleak", "forget_quality", "forget_truth_ratio", "model_utility", "truncated", "dtype_gap",
          "cad_corrected", "as_nc_corrected", "as_c_corrected", "activation_shift_c_corrected",
          "activation_shift_nc_corrected", "noise_ratio"}  # fmt: skip


def test_the_table_is_the_design_s():
    assert set(METRICS) == DESIGN


@pytest.mark.parametrize(
    ("metric", "precision", "role", "expected"),
    [
        (METRICS["forget_drop"], FULL, Role.FORGET, Property.FORGETTING),
        (METRICS["forget_drop"], "awq", Role.FORGET, Property.PERMANENCE),
        (METRICS["ptq_gap"], "nf4", Role.FORGET, Property.PERMANENCE),
        (METRICS["dtype_gap"], FULL, Role.FORGET, Property.FORGETTING),
        (METRICS["dtype_gap"], "nf4", Role.FORGET, Property.PERMANENCE),
        (METRICS["retain_drop"], "nf4", Role.RETAIN, Property.RETENTION),
        (METRICS["cad"], "nf4", Role.FORGET, Property.ERASURE),
        (METRICS["cad_corrected"], "nf4", Role.FORGET, Property.ERASURE),
        (METRICS["noise_ratio"], FULL, Role.FORGET, Property.REPORTED),
        (METRICS["recovery"], "nf4", Role.FORGET, Property.REPORTED),
        (METRICS["code_flip_rate"], "nf4", None, Property.REPORTED),
        (score("acc"), FULL, Role.RETAIN, Property.RETENTION),
        (score("acc"), FULL, Role.FORGET, Property.FORGETTING),
        (score("acc"), "nf4", Role.FORGET, Property.PERMANENCE),
    ],
)
def test_which_property_a_limit_guards(metric, precision, role, expected):
    assert guarded_by(metric, precision, role) is expected


def test_a_gap_needs_two_precisions():
    assert not METRICS["ptq_gap"].where.admits(FULL)
    assert METRICS["ptq_gap"].where.admits("a_plugin")
    assert METRICS["retain_drop"].asks.admits(Role.RETAIN)
    assert not METRICS["retain_drop"].asks.admits(Role.FORGET)
