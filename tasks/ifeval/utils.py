"""What the YAML file beside this one calls: lm-eval's own count, imported only when an answer is to be counted."""

from typing import Any


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, bool]:
    """Whether the answer followed every instruction of the prompt, read strictly and loosely.

    Raises ValueError without nltk's `punkt_tab`: lm-eval would try to download it in the middle of a run.
    """
    import langdetect
    import nltk

    # Left alone it draws anew each time, and one answer would be counted in two ways.
    langdetect.DetectorFactory.seed = 0
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError as error:
        raise ValueError(
            "IFEval counts sentences with nltk's punkt_tab, which is not here. Where there is a network: "
            "`python -m nltk.downloader punkt_tab`; then copy nltk_data, or point NLTK_DATA to it"
        ) from error
    from lm_eval.tasks.ifeval import utils

    counted = utils.process_results(doc, results)
    return {name: counted[name] for name in ("prompt_level_strict_acc", "prompt_level_loose_acc")}
