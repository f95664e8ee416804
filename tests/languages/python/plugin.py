"""Says in Python what every language must be able to say."""

import base64
import datetime
import logging
import os
import random
import secrets
import sys
import time
import uuid

from contract import Actions, Context, FailParams, SendNoteParams
from opsiq_sdk import Failure, http, url


def deep(n: int) -> int:
    return deep(n + 1) + 1


def give(failure: Failure) -> None:
    raise failure


WAYS = {
    "invalid": lambda: give(Failure.invalid("makes no sense")),
    "missing": lambda: give(Failure.not_found("no such thing")),
    "wait": lambda: give(Failure.rate_limited(7)),
    "defect": lambda: {}["none"],
    "deep": lambda: deep(0),
    "nothing": lambda: None,
    "undeclared": lambda: http.get("https://elsewhere.example.com/"),
    "exit": lambda: sys.exit(3),
    "quit": lambda: os._exit(3),
    "file": lambda: open("/etc/passwd"),
    "folder": lambda: os.listdir("/"),
    "sleep": lambda: time.sleep(1),
    "import": lambda: __import__("xml.dom.minidom"),
}


class Plugin(Actions):
    def tell_facts(self, ctx: Context, params):
        print("printed")
        logging.getLogger(__name__).warning("logged")
        rolls = [random.random(), random.Random().random(), secrets.token_hex(8), str(uuid.uuid4())]
        made = datetime.datetime.now(datetime.UTC).isoformat()
        return {"now": int(time.time() * 1000), "made": made, "random": rolls, "environment": dict(os.environ)}

    def fail(self, ctx: Context, params: FailParams):
        return WAYS[params["how"]]()

    def send_note(self, ctx: Context, params: SendNoteParams):
        key, text = ctx.key("secret"), params["text"]
        mac = key.sign(text)
        answer = http.post(
            url("{}/notes/{}", ctx.config["base-url"], params["id"]),
            params={"q": "a b"},
            headers={"x-mac": base64.b64encode(mac).decode(), "x-once": ctx.idempotency_key or ""},
            data=text,
        )
        said = answer.raise_for_status().json()
        before = ctx.kv.get("count")
        count = (before.value if before else 0) + 1
        ctx.kv.set("count", count)
        ctx.audit("note.sent", {"id": params["id"]})
        ctx.log.info("sent")
        return {"said": said, "verified": key.verify(text, mac), "count": count, "keys": ctx.kv.keys()}
