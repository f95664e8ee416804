"""Puts the host's clock, randomness and log where Python looks for them; imported before the plugin's own code.

There is no operating system underneath: what would ask one for the time, for randomness, for a file or for the terminal
would end the call without a word, so it is led to the host or told what to do instead.
"""

import builtins
import datetime as _datetime
import importlib.machinery
import io
import linecache
import math
import os
import posix
import random
import sys
import time
import traceback
import types
from typing import Any

from .host import host, in_call

_POOL_BYTES = 256
_pool = b""


def _urandom(length: int) -> bytes:
    """`length` unpredictable bytes. Small amounts are asked for in stock, since every asking is a host call; a call
    begins with an empty stock."""
    global _pool
    if length > _POOL_BYTES:
        return bytes(host("random").bytes(length))
    if len(_pool) < length:
        _pool = bytes(host("random").bytes(_POOL_BYTES))
    taken, _pool = _pool[:length], _pool[length:]
    return taken


def _randomness() -> None:
    os.urandom = _urandom
    random._urandom = _urandom  # type: ignore[attr-defined]
    unpredictable = random.SystemRandom()
    for name in random.__all__:
        method = getattr(unpredictable, name, None)
        if callable(method) and not isinstance(getattr(random, name), type):
            setattr(random, name, method)
    seed = random.Random.seed

    def seeded(self: random.Random, a: Any = None, version: int = 2) -> None:
        # A generator of the plugin's own begins unpredictably unless it is given a seed.
        seed(self, int.from_bytes(_urandom(32)) if a is None and not isinstance(self, random.SystemRandom) else a, version)

    random.Random.seed = seeded  # type: ignore[method-assign]


def _now_ns() -> int:
    # While the plugin is built it is 1970, so that a module that looks at the clock can be imported at all.
    return host("clock").now_ms() * 1_000_000 if in_call() else 0


def _monotonic_ns() -> int:
    return host("clock").monotonic_ns() if in_call() else 0


def _sleep(_seconds: Any) -> None:
    raise RuntimeError("a plugin cannot sleep; answer `Failure.rate_limited` and let the caller come again")


def _clock() -> None:
    time.time_ns = _now_ns
    time.time = lambda: _now_ns() / 1e9
    time.sleep = _sleep
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, f"{name}_ns", _monotonic_ns)
        setattr(time, name, lambda: _monotonic_ns() / 1e9)
    for name in ("gmtime", "localtime", "ctime"):
        real = getattr(time, name)
        setattr(time, name, lambda seconds=None, real=real: real(time.time() if seconds is None else seconds))
    asctime, strftime = time.asctime, time.strftime
    time.asctime = lambda given=None: asctime(given or time.localtime())
    time.strftime = lambda form, given=None: strftime(form, given or time.localtime())

    class _Like(type):
        """Whatever is a date to Python is one here."""

        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, cls.__mro__[1]) if cls.__module__ == __name__ else super().__instancecheck__(value)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, cls.__mro__[1]) if cls.__module__ == __name__ else super().__subclasscheck__(other)

    class date(_datetime.date, metaclass=_Like):
        @classmethod
        def today(cls) -> Any:
            return cls.fromtimestamp(time.time())

    class datetime(_datetime.datetime, metaclass=_Like):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(_datetime.UTC).replace(tzinfo=None)

    _datetime.date, _datetime.datetime = date, datetime  # type: ignore[misc]


class _Lines(io.TextIOBase):
    """What is printed goes to the log, line by line."""

    def __init__(self, level: str) -> None:
        self._level = level
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        from .context import write

        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            write(self._level, line)
        return len(text)


def _no_system(*_arguments: Any, **_named: Any) -> Any:
    raise PermissionError("a plugin has no files and no system; what it needs to read, it reads while it is built")


# Functions of the operating system that need none.
_PURE = {"fspath", "strerror", "urandom", "getpid", "cpu_count", "register_at_fork", "DirEntry"}


def _lines_at_hand() -> None:
    """Tracebacks show the plugin's own lines, as they are now, and look for no other."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        if not file.startswith("/python/"):
            linecache.getlines(file)
    # Showing one makes Python import what it needs for that, which it cannot do later.
    for fault in (lambda: {}["none"], lambda: math.none, lambda: none, lambda: int("none")):  # type: ignore  # noqa: F821
        try:
            fault()
        except Exception as raised:
            traceback.format_exception(raised)
    # To place its marks it parses each line, and for a line that is no statement Python itself looks for the file.
    traceback._extract_caret_anchors_from_line_segment = lambda segment: None  # type: ignore[attr-defined]
    traceback.StackSummary._should_show_carets = lambda self, *line: False  # type: ignore[attr-defined]
    linecache.checkcache = lambda filename=None: None
    linecache.updatecache = lambda filename, module_globals=None: []
    linecache.lazycache = lambda filename, module_globals: False


class _TopOnly:
    """The last of the finders, once the plugin is built."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        raise ImportError(f"{name} must be imported at the top of the module, while the plugin is built")


def seal() -> None:
    """Ends the time in which modules and files can be read: what was read is part of the component."""
    os.environ.clear()
    sys.path.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, _TopOnly]  # type: ignore[list-item]
    _lines_at_hand()
    for name in set(dir(posix)) - _PURE:
        if isinstance(getattr(posix, name), types.BuiltinFunctionType):
            for module in (posix, os):
                if hasattr(module, name):
                    setattr(module, name, _no_system)
    builtins.open = io.open = _no_system
    sys.stdout, sys.stderr = _Lines("info"), _Lines("error")  # type: ignore[assignment]
    sys.stdin = None  # type: ignore[assignment]


_randomness()
_clock()
