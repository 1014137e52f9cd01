"""Memory given back when a model is done with."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def let_go() -> Iterator[None]:
    """Free at the end what is made inside and no longer referred to, reference cycles too.

    What was there before, a million objects of the libraries, is not searched: that takes as long as asking a small
    model does.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
