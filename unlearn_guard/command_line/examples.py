"""What each command looks like when it is typed: the examples under its --help."""

import click

EXAMPLES = {
    "": (
        "unlearn-guard demo",
        "unlearn-guard check ./checkpoint --base ./base --suite wmdp-bio",
        "unlearn-guard list suites",
    ),
    "check": (
        "unlearn-guard check ./checkpoint --base ./base --suite wmdp-bio",
        "unlearn-guard check ./checkpoint --thresholds release.yaml --release ./release",
        "unlearn-guard check org/model@v2 --artifact gptq=./model-gptq --json",
    ),
    "judge": ("unlearn-guard judge runs/checkpoint-1a2b3c4d5e6f --thresholds strict",),
    "report": (
        "unlearn-guard report runs/NAME --markdown summary.md --sarif limits.sarif",
        "unlearn-guard report runs/NAME --model-card ./checkpoint/README.md",
    ),
    "leaderboard": ("unlearn-guard leaderboard runs/* --out site --with-reports",),
    "attest": ("unlearn-guard attest runs/NAME --candidate ./release --key private.pem --out statement.json",),
    "verify": (
        "unlearn-guard verify statement.json ./release --public-key public.pem",
        "unlearn-guard verify statement.json ./release --not-after 2026-11-30",
    ),
    "probe": (
        "unlearn-guard probe http://127.0.0.1:8080/v1 --run runs/NAME --precision gguf-q4_0",
        "unlearn-guard probe https://models.example.org/v1 --run runs/NAME --model NAME --key-env MODELS_KEY",
    ),
    "import": ("unlearn-guard import runs/NAME --open-unlearning saves/eval/NPO/TOFU_EVAL.json",),
    "inspect": ("unlearn-guard inspect ./checkpoint --base ./base",),
    "attribute": (
        "unlearn-guard attribute ./base --suite organism --out scores.json",
        "unlearn-guard attribute ./base --pairs pairs.jsonl --edges all --faithful 50 --out scores.json",
    ),
    "unlearn": ("unlearn-guard unlearn mansu --base ./base --suite wmdp-bio --set lr=2e-5 --out ./checkpoint",),
    "compare": (
        "unlearn-guard compare --methods npo,mansu --base ./base --suites organism --seeds 0,1 --out compared",
    ),
    "plan": (
        "unlearn-guard plan --methods all --base ./base --suites organism --out compared",
        "unlearn-guard plan --power --suites atlas --thresholds paper",
    ),
    "data pull": ("unlearn-guard data pull wmdp-bio tofu --data-dir ./data",),
    "calibrate": ("unlearn-guard calibrate --candidates retrained,hidden,erased --out calibration",),
    "organism build": ("unlearn-guard organism build hidden --out ./hidden",),
    "fetch": ("unlearn-guard fetch smollm2-135m --out ./base",),
    "dequantize": ("unlearn-guard dequantize model-q4_k_m.gguf --out ./base",),
    "init suite": (
        "unlearn-guard init suite ours --from forget.jsonl --retain retain.jsonl",
        "unlearn-guard init suite ours --from questions.csv --ask texts --corpora ./texts",
    ),
    "suite check": ("unlearn-guard suite check ours --base ./base",),
    "policy show": (
        "unlearn-guard policy show strict > thresholds.yaml",
        "unlearn-guard policy show thresholds.yaml --suite wmdp-bio",
    ),
    "policy diff": ("unlearn-guard policy diff paper thresholds.yaml --suite wmdp-bio",),
    "policy seal": ("unlearn-guard policy seal thresholds.yaml --suite wmdp-bio --out seal.json",),
    "list": ("unlearn-guard list suites", "unlearn-guard list precisions --json"),
    "demo": ("unlearn-guard demo --out demo",),
}
"""By command, as typed; the empty one is the program itself."""


def add_examples(command: click.Command, path: str = "") -> None:
    """Put the examples of this command, and of those below it, at the end of their help."""
    if path in EXAMPLES:
        lines = "\n".join(f"  {each}" for each in EXAMPLES[path])
        command.epilog = f"\b\nExamples:\n{lines}\n\n{command.epilog or ''}".rstrip()
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        add_examples(child, f"{path} {name}".strip())
