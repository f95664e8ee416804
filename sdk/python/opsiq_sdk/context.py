"""What one call of an action is given: facts about it, and every means the contract grants."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .failure import calling, plain
from .host import host

Config = TypeVar("Config")


@dataclass(frozen=True)
class Delivery:
    """One inbound delivery whose signature the host has verified. Header names are in lower case."""

    id: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Entry:
    """What is stored under a key. `version` grows by one with every write; never 0."""

    value: Any
    version: int


class Key:
    """An open key. The bytes stay in the host; what can be done with it is what the contract's `use` says."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def sign(self, data: bytes | str, algorithm: str = "hmac-sha256") -> bytes:
        """The HMAC of `data` under the newest live version."""
        return bytes(calling(lambda: self._key.sign(_algorithm(algorithm), _bytes(data))))

    def verify(self, data: bytes | str, mac: bytes, algorithm: str = "hmac-sha256") -> bool:
        """Whether `mac` is the HMAC of `data` under any live version, compared in constant time."""
        return calling(lambda: self._key.verify(_algorithm(algorithm), _bytes(data), mac))

    def derive(self, data: bytes | str, algorithm: str = "hmac-sha256") -> Key:
        """The key whose bytes are the HMAC of `data`: one step of a chain as AWS Signature Version 4 makes it."""
        return Key(calling(lambda: self._key.derive(_algorithm(algorithm), _bytes(data))))


class Kv:
    """Small storage of the installation: sealed at rest, shared by nobody else. Values are JSON."""

    def get(self, key: str) -> Entry | None:
        """What is stored under `key`."""
        entry = calling(lambda: host("kv").get(key))
        return None if entry is None else Entry(json.loads(entry.value), entry.version)

    def set(self, key: str, value: Any, *, expected: int | None = None) -> int:
        """Stores `value` and answers its version; with `expected`, only while that is the version (0: nothing there)."""
        stored = json.dumps(value).encode()
        return calling(lambda: host("kv").set(key, stored, expected))

    def delete(self, key: str, *, expected: int | None = None) -> None:
        """Deletes `key`; deleting what is not there succeeds."""
        calling(lambda: host("kv").delete(key, expected))

    def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with `prefix`, in byte order. One host call per hundred keys."""
        keys: list[str] = []
        while page := calling(lambda: host("kv").list_keys(prefix, keys[-1] if keys else None)):
            keys.extend(page)
        return keys


class Log:
    """Lines for the operator and the tenant, kept with the invocation."""

    def debug(self, line: object) -> None:
        """A line of interest while developing."""
        write("debug", line)

    def info(self, line: object) -> None:
        """A line about the ordinary course."""
        write("info", line)

    def warn(self, line: object) -> None:
        """A line about something odd that did no harm."""
        write("warn", line)

    def error(self, line: object) -> None:
        """A line about a failure."""
        write("error", line)


class Context(Generic[Config]):
    """What one call of an action is given."""

    def __init__(self) -> None:
        self._config: Any = None
        self.kv = Kv()
        self.log = Log()

    @property
    def config(self) -> Config:
        """The tenant's config for this installation, valid against the contract's schema."""
        if self._config is None:
            self._config = json.loads(host("context").config())
        return self._config

    @property
    def invocation_id(self) -> str:
        """The invocation's id, the same that the audit log shows."""
        return host("context").invocation_id()

    @property
    def idempotency_key(self) -> str | None:
        """The same for every attempt at the same call, to be passed to an outside system; `None` for a `read`."""
        return host("context").idempotency_key()

    @property
    def remaining_ms(self) -> int:
        """Milliseconds of wall time this invocation has left."""
        return host("context").remaining_ms()

    def key(self, name: str) -> Key:
        """Opens a key that the contract declares and the action lists."""
        return Key(calling(lambda: host("keys").Key.open(name)))

    def audit(self, event: str, detail: dict[str, Any] | None = None) -> None:
        """Puts an event of the contract into the tenant's audit log. `detail`: at most 16 KiB as JSON."""
        calling(lambda: host("audit").emit(event, json.dumps(detail or {})))


def write(level: str, line: object) -> None:
    """Writes one line of this level."""
    log = host("log")
    log.write(log.Level[level.upper()], plain(line))


def _algorithm(name: str) -> Any:
    return host("keys").Algorithm[name.upper().replace("-", "_")]


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)
