"""What a suite's items can decide under a policy, before there is a candidate: rendered, and nobody is asked."""

from collections.abc import Sequence
from pathlib import Path

from unlearn_guard.checking.request import DTYPE_ITEMS
from unlearn_guard.errors import UsageError
from unlearn_guard.judging.power import Assumed, Need, needs
from unlearn_guard.judging.thresholds import read_policy, resolve
from unlearn_guard.records import ALL, Role
from unlearn_guard.registry import precisions
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.suites import load_suite


def planned_items(
    policy: str,
    suite: str,
    assumed: Assumed,
    *,
    limit: int | None = None,
    precisions_asked: Sequence[str] | None = None,
    tasks_dirs: Sequence[Path] = (),
    data_dir: Path | None = None,
) -> tuple[Need, ...]:
    """Each limit of the policy on this suite with the items it has and needs; only those at `precisions_asked`.

    Raises UsageError where base's score would not be above chance, PolicyError where the policy does not fit the suite.
    """
    draft = read_policy(policy)
    loaded = load_suite(suite, tasks_dirs)
    limits = resolve(draft, loaded.tasks, precisions()).limits
    rendered = render(loaded, limit=limit, data_dir=data_dir)
    tasks = {task.name: task for task in rendered.records if task.role is not Role.PROBE}
    wanted = precisions_asked or draft.precisions
    wanted = None if wanted and tuple(wanted) == (ALL,) else wanted
    try:
        counted = [each for each in limits if wanted is None or each.precision in wanted]
        return needs(counted, tasks, assumed, asked={"dtype_gap": DTYPE_ITEMS})
    except ValueError as error:
        raise UsageError(str(error), fix="Give what base scores on its forget tasks: --base-score.") from error
