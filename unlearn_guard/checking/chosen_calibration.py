"""The texts that the data-driven quantizers of a run look at."""

from unlearn_guard.checking.request import Settled
from unlearn_guard.intake import Intake, open_tokenizer
from unlearn_guard.quantizers.protocol import SHORTEST, Calibration
from unlearn_guard.registry import quantizer
from unlearn_guard.scoring.calibration import calibration_texts
from unlearn_guard.scoring.questions import Rendered


def chosen_calibration(settled: Settled, rendered: Rendered, base: Intake) -> tuple[Calibration, list[str]]:
    """The texts that every data-driven quantizer of this run looks at, and what to say of those it does not."""
    if not any(quantizer(name).calibrated for name in settled.precisions):
        return Calibration(texts=()), []
    tokenizer = open_tokenizer(base.checkpoint.path)
    chosen = calibration_texts(
        rendered,
        rendered.suite.calibration_samples,
        length=lambda text: len(tokenizer(text)["input_ids"]),
        shortest=SHORTEST,
    )
    used, over = len(chosen.texts), chosen.passed_over
    note = f"calibration: {used} texts used, {over} passed over with fewer than {SHORTEST} tokens"
    return Calibration(texts=chosen.texts), [note]
