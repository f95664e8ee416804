"""Requests to the outside, in the shape of an ordinary client, through the rules of the contract.

Credentials are injected by the host and never pass through here. Raises `Failure` where there is no answer, saying
whether the request was sent; an answer that reports a failure is no error until `raise_for_status`.
"""

from __future__ import annotations

import json as _json
from typing import Any
from types import SimpleNamespace

from .failure import Failure, calling
from .host import host
from .url import form, query

_PIECE = 64 * 1024
_REASON_CHARS = 300


class Headers(dict[str, str]):
    """Header names, without case, and their values; several of one name joined by a comma."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in pairs:
            name = name.lower()
            self[name] = f"{self[name]}, {value}" if name in self else value

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Response:
    """An answer of the outside system."""

    def __init__(self, answer: Any, url: str, asked: str) -> None:
        self._body = answer.body
        self._content: bytes | None = None
        # Method and host, no more, since a path may name a person.
        self._asked = asked
        self.url = url
        self.status_code: int = answer.status
        self.headers = Headers(answer.headers)

    @property
    def ok(self) -> bool:
        return self.status_code < 400

    def read(self, most: int = _PIECE) -> bytes:
        """The next piece of the body, at most 64 KiB; empty at the end. For answers too large to hold whole."""
        return bytes(calling(lambda: self._body.read(min(most, _PIECE))))

    @property
    def content(self) -> bytes:
        if self._content is None:
            pieces = []
            while piece := self.read():
                pieces.append(piece)
            self._content = b"".join(pieces)
        return self._content

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The answer as JSON; `upstream` where it is none."""
        try:
            return _json.loads(self.content)
        except ValueError as error:
            why = f"the answer to {self._asked} is not as expected: {error}"
            raise Failure.upstream(why, status=self.status_code) from None

    def raise_for_status(self) -> Response:
        """This answer, if it is a success; else raises the failure it means: 404 `not-found`, 409 `conflict`,
        422 `invalid`, 429 `rate-limited` with the seconds of `retry-after`, every other status `upstream`, with the reason
        the answer gives where it is JSON with a `detail`, `message`, `error` or `title`."""
        status = self.status_code
        if status < 300:
            return self
        if status == 429:
            raise Failure.rate_limited(self.headers.get("retry-after"))
        reason = self._reason()
        message = f"{self._asked} answered {status}" + (f": {reason}" if reason else "")
        if status == 404:
            raise Failure.not_found(message)
        if status == 409:
            raise Failure.conflict(message)
        if status == 422:
            raise Failure.invalid(message)
        raise Failure.upstream(message, status=status)

    def _reason(self) -> str | None:
        try:
            said = _json.loads(self.content)
        except (ValueError, Failure):
            return None
        for name in ("detail", "message", "error_description", "error", "title"):
            value = said.get(name) if isinstance(said, dict) else None
            value = value.get("message") if isinstance(value, dict) else value
            if isinstance(value, str):
                line = "".join(c if c.isprintable() else " " for c in value)
                return line[:_REASON_CHARS].strip()
        return None


def request(
    method: str,
    url: str,
    *,
    params: dict[str, object] | None = None,
    headers: dict[str, str] | None = None,
    json: Any = None,
    data: bytes | str | dict[str, object] | None = None,
    timeout: float | None = None,
) -> Response:
    """Sends one request. `data`: bytes or text as they are, or a dict as a form; `timeout` in seconds."""
    method, url = method.upper(), query(url, params or {})
    fields = [(name, str(value)) for name, value in (headers or {}).items()]
    body, kind = _encoded(json, data)
    if kind and not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("content-type", kind))
    timeout_ms = None if timeout is None else max(0, min(int(timeout * 1000), (1 << 32) - 1))
    http = host("http")
    asked = getattr(http, "Request", SimpleNamespace)(
        method=method, url=url, headers=fields, body=body, timeout_ms=timeout_ms
    )
    answer = calling(lambda: http.send(asked))
    authority = url.partition("://")[2].replace("?", "/").replace("#", "/").partition("/")[0]
    return Response(answer, url, f"{method} {authority}")


def get(url: str, **more: Any) -> Response:
    """A GET request."""
    return request("GET", url, **more)


def head(url: str, **more: Any) -> Response:
    """A HEAD request."""
    return request("HEAD", url, **more)


def post(url: str, **more: Any) -> Response:
    """A POST request."""
    return request("POST", url, **more)


def put(url: str, **more: Any) -> Response:
    """A PUT request."""
    return request("PUT", url, **more)


def patch(url: str, **more: Any) -> Response:
    """A PATCH request."""
    return request("PATCH", url, **more)


def delete(url: str, **more: Any) -> Response:
    """A DELETE request."""
    return request("DELETE", url, **more)


def _encoded(json: Any, data: Any) -> tuple[bytes | None, str]:
    if json is not None:
        return _json.dumps(json).encode(), "application/json"
    if isinstance(data, dict):
        return form(data).encode(), "application/x-www-form-urlencoded"
    if isinstance(data, str):
        return data.encode(), "text/plain;charset=UTF-8"
    return (None if data is None else bytes(data)), ""
