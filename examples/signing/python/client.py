"""Signs a request and verifies the signed reply: pip install -r requirements.txt"""

import datetime
import os
import secrets
import uuid

import requests
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)


class OneKey(HTTPSignatureKeyResolver):
    """The client's one secret: the bytes of the text are the key."""

    def __init__(self, key_id, secret):
        self.key_id, self.secret = key_id, secret

    def resolve_private_key(self, key_id):
        return self.resolve_public_key(key_id)

    def resolve_public_key(self, key_id):
        if key_id != self.key_id:
            raise LookupError("another key signed")
        return self.secret


KEY_ID = os.environ["OPSIQ_KEY_ID"]
KEY = OneKey(KEY_ID, os.environ["OPSIQ_CLIENT_SECRET"].encode())
HMAC = algorithms.HMAC_SHA256

signer = HTTPMessageSigner(signature_algorithm=HMAC, key_resolver=KEY)
verifier = HTTPMessageVerifier(signature_algorithm=HMAC, key_resolver=KEY)

request = requests.Request(
    "POST",
    os.environ["OPSIQ_URL"],
    data=os.environ["OPSIQ_BODY"].encode(),
    headers={"Content-Type": "application/json", "Idempotency-Key": f'"{uuid.uuid4()}"'},
).prepare()
signer.sign(
    request,
    key_id=KEY_ID,
    nonce=secrets.token_urlsafe(24),
    covered_component_ids=("@method", "@target-uri", "content-digest", "idempotency-key"),
    body=request.body,
)

with requests.Session() as session:
    # A request that was prepared is sent with what the environment says only where that is asked for.
    reply = session.send(request, **session.merge_environment_settings(request.url, {}, None, None, None))
if "signature" not in reply.headers:
    raise SystemExit(f"{reply.status_code} {reply.text}")
verifier.verify(
    reply,
    body=reply.content,
    max_age=datetime.timedelta(minutes=5),
    require_components=(
        "@status",
        "content-digest",
        '"@method";req',
        '"@target-uri";req',
        '"signature";req',
    ),
)
print(reply.status_code, reply.text)
