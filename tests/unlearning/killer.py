"""What ends a training in the middle, in one process."""


class KilledError(Exception):
    """What stands in for SIGKILL in one process: nothing after it runs, not even a save."""


class Killer:
    def __init__(self, after: int) -> None:
        self.after = after
        self.steps: list[int] = []

    def begin(self, text: str) -> None:
        pass

    def losses(self, forget: float, retain: float | None) -> None:
        pass

    def advance(self, done: int, of: int) -> None:
        self.steps.append(done)
        if done == self.after:
            raise KilledError
