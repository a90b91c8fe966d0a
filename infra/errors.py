"""Errors of the running system. The docstring of an error is its message and names the remedy."""


class KehuError(Exception):
    """Something outside the domain went wrong. See the detail, and run `kehu doctor`."""

    exit_code = 1

    def __init__(self, detail: str = "") -> None:
        message = " ".join((self.__doc__ or type(self).__name__).split())
        super().__init__(f"{message} ({detail})" if detail else message)
        self.detail = detail


class ServerUnavailable(KehuError):
    """A server does not answer. Check its address in the settings and that it runs."""

    exit_code = 3


class Unreadable(KehuError):
    """A message cannot be read as an event of the contracts. Correct it at its source and publish it again."""

    source: str | None = None
    event_id: str | None = None
    """Who sent it, where its envelope tells."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail
