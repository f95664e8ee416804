"""Against a host made here: what the real one raises and answers, in the toolchain's forms."""

import json
import unittest
from types import SimpleNamespace

from opsiq_sdk import Failure, host, http, query, url
from opsiq_sdk.serve import Service


class Err(Exception):
    def __init__(self, value):
        super().__init__(value)
        self.value = value


def case(name, *fields):
    """A class of the shape that the toolchain generates for a case or record."""

    def init(self, *values):
        for field, value in zip(fields, values, strict=True):
            setattr(self, field, value)

    return type(name, (), {"__init__": init})


CASES = ["Invalid", "Denied", "NotFound", "Conflict", "RateLimited", "Upstream", "Internal"]
TYPES = SimpleNamespace(
    Denial=case("Denial", "rule", "message", "fix"),
    UpstreamFailure=case("UpstreamFailure", "status", "request_sent", "message"),
    **{f"Failure_{name}": case(f"Failure_{name}", "value") for name in CASES},
)
DENIAL = TYPES.Denial("http.no-rule", "m", "f")


class Log:
    class Level:
        def __class_getitem__(cls, name):
            return name

    lines = []

    @classmethod
    def write(cls, level, line):
        cls.lines.append((level, line))


def reply(status, body=b"", headers=()):
    pieces = [body, b""]
    return SimpleNamespace(status=status, headers=list(headers), body=SimpleNamespace(read=lambda most: pieces.pop(0)))


def call(act, params=None, send=None):
    """Calls the one action whose code is `act`."""
    host.give({
        "context": SimpleNamespace(config=lambda: '{"base":"b"}'),
        "log": Log,
        "http": SimpleNamespace(send=send),
    })
    plugin = SimpleNamespace(Plugin=type("Plugin", (), {"do_it": lambda self, ctx, params: act(ctx, params)}))
    return json.loads(Service(plugin, ["do-it"], [], TYPES, Err).invoke("do-it", json.dumps(params or {})))


class Calls(unittest.TestCase):
    def failure(self, act, send=None):
        with self.assertRaises(Err) as raised:
            call(act, send=send)
        return raised.exception.value

    def raising(self, what):
        def act(ctx, params):
            raise what

        return self.failure(act)

    def kind(self, answer):
        return type(answer).__name__

    def test_a_value_goes_in_and_comes_out(self):
        self.assertEqual(call(lambda ctx, p: {"a": p["a"], **ctx.config}, {"a": 1}), {"a": 1, "base": "b"})

    def test_a_failure_keeps_its_meaning_and_anything_else_is_internal(self):
        self.assertEqual(self.kind(self.raising(Failure.invalid("x"))), "Failure_Invalid")
        self.assertEqual(self.raising(Failure.rate_limited("30")).value, 30)
        self.assertIsNone(self.raising(Failure.rate_limited("soon")).value)
        upstream = self.raising(Failure.upstream("x", status=503).context("y")).value
        self.assertEqual((upstream.status, upstream.request_sent, upstream.message), (503, True, "y: x"))
        for what in (KeyError("k"), SystemExit(3), RecursionError(), KeyboardInterrupt()):
            self.assertEqual(self.kind(self.raising(what)), "Failure_Internal")
        self.assertEqual(self.kind(self.failure(lambda ctx, p: None)), "Failure_Internal")
        self.assertEqual(self.kind(self.failure(lambda ctx, p: {"x": float("nan")})), "Failure_Internal")
        self.assertTrue(any("KeyError" in line for _, line in Log.lines))

    def test_what_the_host_answers_instead_becomes_a_failure(self):
        def because(name, *value):
            def send(request):
                raise Err(case(name, *(["value"] if value else []))(*value))

            return self.failure(lambda ctx, p: http.get("https://a.example/"), send)

        self.assertEqual(because("HttpFailure_Denied", DENIAL).value.rule, "http.no-rule")
        self.assertFalse(because("HttpFailure_Unreachable").value.request_sent)
        self.assertTrue(because("HttpFailure_TimedOut", True).value.request_sent)
        self.assertFalse(because("HttpFailure_Limit", ("http.requests", False)).value.request_sent)

    def test_a_request_and_its_answer(self):
        sent = []

        def send(request):
            sent.append(request)
            return reply(200, '{"ü":1}'.encode(), [("X-A", "1")])

        def act(ctx, params):
            answer = http.post(url("https://a.example/x/{}", "a/b"), params={"q": "a b"}, json={"n": 1}, timeout=1.5)
            return {"ok": answer.ok, "a": answer.headers["x-a"], **answer.json()}

        self.assertEqual(call(act, send=send), {"ok": True, "a": "1", "ü": 1})
        request = sent[0]
        self.assertEqual((request.method, request.url), ("POST", "https://a.example/x/a%2Fb?q=a%20b"))
        self.assertEqual((request.body, request.timeout_ms), (b'{"n": 1}', 1500))
        self.assertEqual(request.headers, [("content-type", "application/json")])

    def test_what_an_unsuccessful_answer_means(self):
        def meant(*answer):
            act = lambda ctx, p: http.get("https://a.example/").raise_for_status()  # noqa: E731
            return self.failure(act, lambda request: reply(*answer))

        self.assertEqual(self.kind(meant(404)), "Failure_NotFound")
        self.assertEqual(meant(429, b"", [("Retry-After", "7")]).value, 7)
        self.assertEqual(
            meant(500, b'{"error":{"message":"broken"}}').value.message, "GET a.example answered 500: broken"
        )

    def test_a_value_stays_one_segment(self):
        self.assertEqual(url("{}/o/{}", "https://a.example/", "../x?y#z"), "https://a.example/o/..%2Fx%3Fy%23z")
        for harmful in ("", ".", ".."):
            with self.assertRaises(Failure):
                url("https://a/{}", harmful)
        self.assertEqual(query("https://a/x", {"q": "a&b", "none": None, "yes": True}), "https://a/x?q=a%26b&yes=true")

    def test_what_is_missing_is_told_before_anything_runs(self):
        with self.assertRaisesRegex(SystemExit, "do_it"):
            Service(SimpleNamespace(Plugin=type("Plugin", (), {})), ["do-it"], [], TYPES, Err)


if __name__ == "__main__":
    unittest.main()
