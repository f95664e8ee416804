"""AWS Signature Version 4 for S3, over a key whose bytes are the host's.

Source: "Authenticating Requests (AWS Signature Version 4)" in the API reference of Amazon S3. Each key of the chain is the
MAC of the next word under the one before; the host prepends `AWS4` to the secret.
"""

import hashlib
from datetime import datetime
from typing import Any

from opsiq_sdk.url import percent

ALGORITHM = "AWS4-HMAC-SHA256"


def canonical_path(path: str) -> str:
    """Every segment percent-encoded once, slashes kept."""
    return "/".join(percent(segment) for segment in path.split("/"))


def canonical_query(values: dict[str, str]) -> str:
    """Names and values percent-encoded, then in the order of their names."""
    return "&".join(f"{name}={value}" for name, value in sorted((percent(n), percent(v)) for n, v in values.items()))


class Signer:
    """Signs for one access key in one region at one time."""

    def __init__(self, key: Any, access_key_id: str, region: str, now: datetime) -> None:
        self._key = key
        self._words = [now.strftime("%Y%m%d"), region, "s3", "aws4_request"]
        self._scope = "/".join(self._words)
        self.time = now.strftime("%Y%m%dT%H%M%SZ")
        self.credential = f"{access_key_id}/{self._scope}"

    def headers(
        self, method: str, path: str, query: dict[str, str], host: str, body: bytes, more: dict[str, str]
    ) -> dict[str, str]:
        """The headers to send, `more` among them; `host` is signed and left to whoever connects."""
        digest = hashlib.sha256(body).hexdigest()
        sent = {**more, "x-amz-content-sha256": digest, "x-amz-date": self.time}
        signed = {"host": host, **sent}
        signature = self._signature(method, path, canonical_query(query), signed, digest)
        names = ";".join(sorted(signed))
        sent["authorization"] = f"{ALGORITHM} Credential={self.credential},SignedHeaders={names},Signature={signature}"
        return sent

    def presigned(self, path: str, host: str, seconds: int) -> str:
        """The query of a link that reads an object."""
        query = canonical_query({
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": self.credential,
            "X-Amz-Date": self.time,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        })
        return f"{query}&X-Amz-Signature={self._signature('GET', path, query, {'host': host}, 'UNSIGNED-PAYLOAD')}"

    def _signature(self, method: str, path: str, query: str, headers: dict[str, str], digest: str) -> str:
        lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
        request = "\n".join([method, canonical_path(path), query, lines, ";".join(sorted(headers)), digest])
        key = self._key
        for word in self._words:
            key = key.derive(word)
        hashed = hashlib.sha256(request.encode()).hexdigest()
        return key.sign("\n".join([ALGORITHM, self.time, self._scope, hashed])).hex()
