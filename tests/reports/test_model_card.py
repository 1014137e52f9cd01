import pytest
from huggingface_hub.repocard_data import model_index_to_eval_results

from tests.oracles.made_evidence import VERDICTS, hostile_evidence, made_evidence
from unlearn_guard.reports.model_card import eval_results, model_index


def test_each_precision_is_a_row_that_names_the_run():
    evidence = made_evidence(VERDICTS["failed"]())
    name, rows = model_index_to_eval_results(model_index(evidence))
    assert name == "candidate"
    shown = [(row.dataset_name, row.metric_name, row.metric_value) for row in rows]
    assert shown == [
        ("forget_task", "acc (full)", 0.2),
        ("forget_task", "acc (nf4)", 0.85),
        ("retain_task", "acc (full)", pytest.approx(52 / 60, abs=0)),
    ]
    assert {row.metric_args["run"] for row in rows} == {evidence.digest}


def test_a_benchmark_s_rows_are_the_hub_s():
    evidence = made_evidence(VERDICTS["failed"]())
    rows = eval_results(evidence, {"forget_task": ("cais/wmdp", "bio")})
    assert [row["value"] for row in rows] == [0.2, 0.85]
    assert rows[1]["dataset"] == {"id": "cais/wmdp", "task_id": "bio"}
    assert rows[1]["notes"] == f"nf4; unlearn-guard failed; run {evidence.digest}"
    assert eval_results(evidence, {}) == []


def test_hostile_names_are_spelt_out():
    assert "\x1b" not in repr(model_index(hostile_evidence())).replace("\\x1b", "")
