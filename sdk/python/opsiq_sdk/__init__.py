"""What makes a plugin short to write.

A plugin begins with its contract, `contract.toml`. From it `opsiq plugin build` writes `contract.py`: a `TypedDict` for
the parameters and the result of each action, and the class `Actions` with one method for each, which `Plugin` in
`plugin.py` implements. What a plugin may reach, it reaches through its `Context` and `http`. Nothing kept in memory
survives a call.
"""

from . import http
from .context import Context, Delivery, Entry, Key, Kv
from .failure import Failure
from .url import query, url

__all__ = ["Context", "Delivery", "Entry", "Failure", "Key", "Kv", "http", "query", "url"]
