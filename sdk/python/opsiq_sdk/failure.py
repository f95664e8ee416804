"""What an action raises so that its caller can act on it, and how the host's own refusals become that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_MESSAGE_CHARS = 2000


def plain(text: object) -> str:
    """A text that the host takes: whole characters, not endless."""
    return str(text)[:_MESSAGE_CHARS].encode("utf-8", "replace").decode("utf-8")


class Failure(Exception):
    """Why an action did not produce a result. Any other exception becomes `internal`."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        request_sent: bool = True,
        retry_after: int | None = None,
        rule: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.request_sent = request_sent
        self.retry_after = retry_after
        self.rule = rule
        self.fix = fix

    @classmethod
    def invalid(cls, message: str) -> Failure:
        """The parameters make no sense to the outside system."""
        return cls("invalid", message)

    @classmethod
    def not_found(cls, message: str) -> Failure:
        """What the parameters name does not exist."""
        return cls("not-found", message)

    @classmethod
    def conflict(cls, message: str) -> Failure:
        """The state of the outside system does not allow it now."""
        return cls("conflict", message)

    @classmethod
    def rate_limited(cls, seconds: float | str | None = None) -> Failure:
        """The outside system asks to wait; `seconds` when it said how long."""
        try:
            after = int(seconds) if seconds is not None else None
        except (ValueError, OverflowError):
            after = None
        within = after is not None and 0 <= after < 1 << 32
        return cls("rate-limited", "the outside system asks to wait", retry_after=after if within else None)

    @classmethod
    def upstream(cls, message: str, *, status: int | None = None, request_sent: bool = True) -> Failure:
        """The outside system failed or could not be reached. `request_sent`: whether an effect may have happened."""
        return cls("upstream", message, status=status, request_sent=request_sent)

    @classmethod
    def internal(cls, message: str) -> Failure:
        """A defect of the plugin."""
        return cls("internal", message)

    @classmethod
    def denied(cls, denial: Any) -> Failure:
        """The host refused something."""
        return cls("denied", denial.message, rule=denial.rule, fix=denial.fix)

    def context(self, what: str) -> Failure:
        """The same failure, its text begun with `what`. A denial and a rate limit stay as they are."""
        if self.kind in ("denied", "rate-limited"):
            return self
        return Failure(self.kind, f"{what}: {self.message}", status=self.status, request_sent=self.request_sent)


def calling(call: Callable[[], T]) -> T:
    """Calls the host; what it answers instead of a value becomes a Failure."""
    try:
        return call()
    except Exception as raised:
        failure = _translated(getattr(raised, "value", None))
        if failure is None:
            raise
        raise failure from None


def _translated(answer: Any) -> Failure | None:
    value: Any = getattr(answer, "value", None)
    match type(answer).__name__:
        case "Denial":
            return Failure.denied(answer)
        case "HttpFailure_Denied" | "KvFailure_Denied":
            return Failure.denied(value)
        case "HttpFailure_Invalid":
            return Failure.internal(f"the request is malformed: {value}")
        case "HttpFailure_Unreachable":
            return Failure.upstream("the outside system could not be reached", request_sent=False)
        case "HttpFailure_TimedOut":
            return Failure.upstream("the outside system did not answer in time", request_sent=bool(value))
        case "HttpFailure_Limit":
            return Failure.upstream(f"the limit `{value[0]}` was met", request_sent=value[1])
        case "HttpFailure_Broken":
            return Failure.upstream("the connection broke before a whole answer had come")
        case "KvFailure_Full":
            return Failure.internal(f"the plugin's storage is full: {value}")
        case "KvFailure_Conflict":
            return Failure.conflict(f"the stored value changed meanwhile, to version {value}")
        case "KvFailure_Unavailable":
            return Failure.upstream("the host's storage cannot be reached now", request_sent=False)
        case _:
            return None
