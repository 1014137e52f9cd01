"""Whether the dataset hub can be reached, asked once a process: without a network, libraries try for half a minute."""

import contextlib
import functools
from collections.abc import Iterator

SECONDS = 3.0
"""How long the hub may take to answer one request."""


@contextlib.contextmanager
def hub_or_cache() -> Iterator[None]:
    """Where the hub does not answer, datasets come from the local cache or not at all, and at once."""
    import datasets
    from huggingface_hub import constants

    if reachable():
        yield
        return
    kept = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = kept


@functools.cache
def reachable() -> bool:
    """Whether the hub answers; never asked where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # which HTTP library answers changes between versions; none of its errors is a yes
        return False
    return True
