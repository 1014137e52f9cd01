"""What the YAML file beside this one calls: lm-eval's own count, imported only when an answer is to be counted."""

from typing import Any

PROMPTS, INSTRUCTIONS = 541, 834
"""Of the whole set, at the revision that the task names."""


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the answer followed every instruction of the prompt, and its share in all instructions that were.

    Each read strictly and loosely. The published instruction-level numbers pool the instructions of all prompts: an
    item's share is how many it followed times prompts per instruction, so that the mean over all prompts is that
    number. Of a part of the prompts (`--limit`) it is not.

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
    followed = {
        f"inst_level_{how}_acc": sum(counted[f"inst_level_{how}_acc"]) * PROMPTS / INSTRUCTIONS
        for how in ("strict", "loose")
    }
    return {name: counted[name] for name in ("prompt_level_strict_acc", "prompt_level_loose_acc")} | followed
