"""What torch's allocator handed out, counted."""

from torch.profiler import ProfilerActivity, profile


def peak_bytes(work):
    """Highest sum of live allocations, counted from the start of `work`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        highest = max(highest, live)
    return highest
