"""URLs whose variable parts cannot become anything but what they were meant to be."""

from urllib.parse import quote

from .failure import Failure


def url(template: str, *values: object) -> str:
    """`url("https://api.example.com/orders/{}", id)`: each value stays inside one path segment whatever it holds.

    A `{}` at the very beginning is a base URL and taken as it is. Raises `invalid` for a segment that is empty, `.` or
    `..`, which mean another path even when encoded.
    """
    parts = template.split("{}")
    if len(parts) != len(values) + 1:
        raise TypeError(f"{len(values)} values for {len(parts) - 1} places")
    text = parts[0]
    for at, value in enumerate(values):
        if at == 0 and not parts[0]:
            text += str(value).rstrip("/")
        else:
            segment = str(value)
            if segment in ("", ".", ".."):
                raise Failure.invalid("an empty value, `.` or `..` cannot be part of a path")
            text += percent(segment)
        text += parts[at + 1]
    return text


def query(base: str, values: dict[str, object]) -> str:
    """A URL with names and values added to its query; one whose value is `None` is left out."""
    for name, value in values.items():
        if value is not None:
            base += ("&" if "?" in base else "?") + f"{percent(name)}={percent(_shown(value))}"
    return base


def form(values: dict[str, object]) -> str:
    """Names and values as `application/x-www-form-urlencoded`."""
    return query("", values)[1:]


def percent(text: str) -> str:
    """Everything but unreserved characters percent-encoded (RFC 3986 section 2.3)."""
    return quote(text, safe="", errors="replace")


def _shown(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
