"""Invented logs in open-unlearning's schema: an evaluation has aggregates and items, a summary numbers alone."""

TOFU_SUMMARY = {
    "exact_memorization": 0.58,
    "extraction_strength": 0.06,
    "forget_Q_A_Prob": 0.11,
    "forget_Q_A_ROUGE": 0.38,
    "forget_Q_A_gibberish": 0.9,
    "forget_quality": 0.96,
    "forget_truth_ratio": 0.63,
    "mia_gradnorm": 0.34,
    "mia_loss": 0.39,
    "model_utility": 0.59,
    "privleak": 0.08,
    "ra_Q_A_Prob": 0.01,
    "ra_Q_A_Prob_normalised": 0.39,
}


def tofu_eval(items=400):
    """The same with every item, as TOFU_EVAL.json has it; an attack's log has its two sides in place of items."""
    log = {
        name: {"agg_value": value, "value_by_index": {str(index): {"prob": value} for index in range(items)}}
        for name, value in TOFU_SUMMARY.items()
    }
    log["mia_loss"] = {
        "forget": {"value_by_index": {}},
        "holdout": {"value_by_index": {}},
        "auc": 0.39,
        "agg_value": 0.39,
    }
    log["forget_quality"] = {"agg_value": None}
    return log
