"""A bucket in memory, empty, with a name of its own."""

import uuid

from unlearn_guard.runs.bucket import Bucket, open_bucket


def made_url() -> str:
    return f"memory://{uuid.uuid4().hex}/comparison"


def made_bucket() -> Bucket:
    return open_bucket(made_url())
