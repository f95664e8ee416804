"""What the host gives this plugin: one module per imported interface, set while the plugin is built.

An interface that the contract does not call for is not there.
"""

from typing import Any

_DECLARE = {
    "keys": '[[key]] with use = ["sign"], "verify" or "derive"',
    "http": "[[http]] in a connector",
    "kv": "[kv] in a connector",
    "audit": "[[audit]]",
}

_given: dict[str, Any] = {}
_in_call = False


def give(interfaces: dict[str, Any]) -> None:
    """Sets the interfaces; done once by the code that `opsiq plugin build` writes, and by tests."""
    _given.clear()
    _given.update(interfaces)


def begin() -> None:
    """From here on the host can be called: while a plugin is built, it cannot."""
    global _in_call
    _in_call = True


def in_call() -> bool:
    """Whether the host can be called."""
    return _in_call


def host(name: str) -> Any:
    """An interface by its name in WIT."""
    if not _in_call:
        raise RuntimeError(f"{name} belongs to a call; outside an action nothing of the host exists")
    if name not in _given:
        raise RuntimeError(f"the plugin has no {name}: its contract must declare {_DECLARE.get(name, name)}")
    return _given[name]
