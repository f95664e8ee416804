"""From the host's call to the plugin's method and back. Used by the code that `opsiq plugin build` writes."""

import json
import traceback
from collections.abc import Callable
from typing import Any

from .context import Context, Delivery, write
from .failure import Failure, plain
from .host import begin


class Service:
    """The plugin's methods by the names of the contract. `types`: the module of the WIT interface `types`."""

    def __init__(self, plugin: Any, actions: list[str], webhooks: list[str], types: Any, err: Callable[[Any], Any]) -> None:
        self._types = types
        self._err = err
        self._actions = _methods(plugin, "Plugin", actions)
        self._webhooks = _methods(plugin, "Hooks", webhooks)

    def invoke(self, action: str, params: str) -> str:
        """Runs one action."""
        return self._run(lambda: self._answer(action, params))

    def receive(self, name: str, delivery: Any) -> None:
        """Handles one delivery."""

        def handle() -> None:
            given = Delivery(delivery.id, dict(delivery.headers), bytes(delivery.body))
            _found(self._webhooks, "webhook", name)(Context(), given)

        self._run(handle)

    def _answer(self, action: str, params: str) -> str:
        result = _found(self._actions, "action", action)(Context(), json.loads(params))
        if result is None:
            raise Failure.internal(f"the action `{action}` answered nothing")
        return json.dumps(result, separators=(",", ":"), allow_nan=False)

    def _run(self, act: Callable[[], Any]) -> Any:
        begin()
        try:
            return act()
        except Failure as failure:
            answer = self._to_wit(failure)
        except BaseException as raised:
            # Nothing a plugin raises may end the call without a word, not even SystemExit.
            answer = self._types.Failure_Internal(plain(_told(raised)))
        raise self._err(answer)

    def _to_wit(self, failure: Failure) -> Any:
        types, message = self._types, plain(failure.message)
        match failure.kind:
            case "denied":
                return types.Failure_Denied(types.Denial(plain(failure.rule), message, plain(failure.fix)))
            case "rate-limited":
                return types.Failure_RateLimited(failure.retry_after)
            case "upstream":
                status = failure.status if failure.status and 0 < failure.status < 1 << 16 else None
                return types.Failure_Upstream(types.UpstreamFailure(status, bool(failure.request_sent), message))
            case "invalid":
                return types.Failure_Invalid(message)
            case "not-found":
                return types.Failure_NotFound(message)
            case "conflict":
                return types.Failure_Conflict(message)
            case _:
                return types.Failure_Internal(message)


def _told(raised: BaseException) -> str:
    """What was raised, in one line; the log has where."""
    try:
        write("error", "".join(traceback.format_exception(raised))[-4000:])
        return f"{type(raised).__name__}: {raised}"
    except BaseException as again:
        return f"{type(raised).__name__}, which cannot be shown ({type(again).__name__})"


def _methods(plugin: Any, of: str, names: list[str]) -> dict[str, Callable[..., Any]]:
    """The methods of the class `of` in the plugin's module."""
    if not names:
        return {}
    given = getattr(plugin, of, None)
    if not isinstance(given, type):
        raise SystemExit(f"plugin.py has no class {of}")
    own, missing, methods = given(), [], {}
    for name in names:
        method = next((n for n in (name.replace("-", "_"), name.replace("-", "_") + "_") if _implemented(given, n)), None)
        if method is None:
            missing.append(name.replace("-", "_"))
        else:
            methods[name] = getattr(own, method)
    if missing:
        raise SystemExit(f"the class {of} in plugin.py lacks {', '.join(missing)}, which the contract declares")
    return methods


def _implemented(given: type, name: str) -> bool:
    """Whether the plugin's own class has it: what `contract.py` declares does not count."""
    method = getattr(given, name, None)
    return callable(method) and getattr(method, "__module__", "") != "contract"


def _found(methods: dict[str, Callable[..., Any]], what: str, name: str) -> Callable[..., Any]:
    """The host asks only for names of the contract, so a missing one tells of a contract changed after the build."""
    if name not in methods:
        raise Failure.internal(f"the plugin was built without the {what} `{name}`")
    return methods[name]
