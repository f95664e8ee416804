"""The examples of the API reference of Amazon S3, with their published keys and signatures."""

import datetime
import hashlib
import hmac
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent.parent / "sdk/python")]

from sigv4 import Signer, canonical_path  # noqa: E402

NOW = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "examplebucket.s3.amazonaws.com"


class Key:
    """What the host does, for a key declared with depth 4 and prefix AWS4."""

    def __init__(self, secret, steps=0):
        self.secret, self.steps = secret, steps

    def derive(self, data):
        secret = self.secret if self.steps else b"AWS4" + self.secret
        return Key(hmac.digest(secret, data.encode(), "sha256"), self.steps + 1)

    def sign(self, data):
        assert self.steps == 4
        return hmac.digest(self.secret, data.encode(), "sha256")


class Signatures(unittest.TestCase):
    def setUp(self):
        self.signer = Signer(Key(SECRET.encode()), "AKIAIOSFODNN7EXAMPLE", "us-east-1", NOW)

    def signature(self, *request):
        return self.signer.headers(*request)["authorization"].rpartition("=")[2]

    def test_get_an_object(self):
        self.assertEqual(
            self.signature("GET", "/test.txt", {}, HOST, b"", {"range": "bytes=0-9"}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        )

    def test_put_an_object(self):
        more = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
        self.assertEqual(
            self.signature("PUT", "/test$file.text", {}, HOST, b"Welcome to Amazon S3.", more),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        )

    def test_list_objects(self):
        self.assertEqual(
            self.signature("GET", "/", {"max-keys": "2", "prefix": "J"}, HOST, b"", {}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        )

    def test_a_link(self):
        link = self.signer.presigned("/test.txt", HOST, 86400)
        self.assertTrue(link.endswith("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"), link)

    def test_names_are_encoded_once(self):
        self.assertEqual(canonical_path("/b/a b/ü+%.txt"), "/b/a%20b/%C3%BC%2B%25.txt")
        self.assertEqual(hashlib.sha256(b"").hexdigest()[:8], "e3b0c442")


if __name__ == "__main__":
    unittest.main()
