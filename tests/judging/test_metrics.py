import math

import pytest

from unlearn_guard.judging.metrics import METRICS, Asks, Safer, Where, guarded_by, score
from unlearn_guard.records import FULL, Property, Role

DESIGN = {"forget_drop", "ptq_gap", "retain_drop", "cad", "as_nc", "as_c", "activation_shift_c", "activation_shift_nc",
          "quantized_share", "code_flip_rate", "update_to_bin", "floor_survival", "above_chance_removed", "recovery",
          "privleak", "forget_quality", "forget_truth_ratio", "model_utility", "truncated", "dtype_gap",
          "cad_corrected", "as_nc_corrected", "as_c_corrected", "activation_shift_c_corrected",
          "activation_shift_nc_corrected", "noise_ratio", "paraphrase_recovery",
          "relearn_recovery", "probe_recovery", "lens_recovery", "unlearning_depth", "tied", "mia_auc",
          "mia_reference", "repetition", "lineage", "calibration_spread"}  # fmt: skip


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


def test_a_score_is_a_share_and_a_probe_s_own_score_has_no_upper_end():
    acc, min_k = score("acc"), score("min_k", unbounded=True)
    assert (acc.name, acc.low, acc.high, acc.unit) == ("acc", 0.0, 1.0, "accuracy")
    assert (min_k.name, min_k.low, min_k.high, min_k.unit) == ("min_k", 0.0, math.inf, "the probe's own")
    assert acc.untouched == min_k.untouched == 0.0
    assert acc.safer is min_k.safer is Safer.NEITHER


@pytest.mark.parametrize("asks", Asks)
@pytest.mark.parametrize("role", Role)
def test_which_tasks_have_a_metric(asks, role):
    expected = {
        Role.FORGET: {Asks.FORGET, Asks.ANY, Asks.TASKS, Asks.ALL, Asks.LIKELIEST, Asks.WRITTEN},
        Role.RETAIN: {Asks.RETAIN, Asks.ANY, Asks.TASKS, Asks.ALL, Asks.LIKELIEST, Asks.WRITTEN},
        Role.PROBE: {Asks.PROBE, Asks.ANY, Asks.ALL, Asks.LIKELIEST, Asks.WRITTEN},
    }
    assert asks.admits(role) is (asks in expected[role])


@pytest.mark.parametrize("where", Where)
def test_at_which_precisions_a_metric_exists(where):
    expected = {
        Where.EVERYWHERE: ["full", "nf4", "gptq"],
        Where.QUANTIZED: ["nf4", "gptq"],
        Where.DENSE: ["full", "nf4"],
        Where.NF4_ONLY: ["nf4"],
    }
    assert [each for each in ("full", "nf4", "gptq") if where.admits(each)] == expected[where]


def test_the_side_of_risk_and_what_an_untouched_model_has():
    gap, cad = METRICS["ptq_gap"], METRICS["cad"]
    assert (gap.low, gap.high, gap.safer, gap.untouched) == (-1.0, 1.0, Safer.LOWER, -1.0)
    assert (cad.low, cad.high, cad.safer, cad.untouched) == (0.0, 10.0, Safer.HIGHER, 0.0)
    assert METRICS["forget_drop"].untouched == 0.0
    assert METRICS["code_flip_rate"].safer is Safer.NEITHER
    assert METRICS["privleak"].safer is Safer.BETWEEN
    assert METRICS["privleak"].unit == "percent"
