"""Objects of one S3 bucket."""

import base64
import binascii
import datetime
import xml.etree.ElementTree as ElementTree
from urllib.parse import urlsplit

from contract import (
    Actions,
    Context,
    GetObjectParams,
    GetObjectResult,
    ListObjectsParams,
    ListObjectsResult,
    PresignObjectParams,
    PresignObjectResult,
    PutObjectParams,
    PutObjectResult,
)
from opsiq_sdk import Failure, http
from opsiq_sdk.http import Response
from sigv4 import Signer, canonical_path, canonical_query

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Plugin(Actions):
    def list_objects(self, ctx: Context, params: ListObjectsParams) -> ListObjectsResult:
        query = {"list-type": "2", "max-keys": str(params.get("limit", 100))}
        for name, given in (("prefix", params.get("prefix")), ("continuation-token", params.get("cursor"))):
            if given:
                query[name] = given
        answer = send(ctx, "GET", "", query=query)
        root = parsed(answer)
        listed = [
            {
                "key": text(entry, "Key"),
                "size": int(text(entry, "Size")),
                "modified": text(entry, "LastModified"),
                "etag": text(entry, "ETag").strip('"'),
            }
            for entry in root.iter(f"{NAMESPACE}Contents")
        ]
        more = root.findtext(f"{NAMESPACE}IsTruncated") == "true"
        return {"objects": listed, "next": text(root, "NextContinuationToken") if more else None}

    def get_object(self, ctx: Context, params: GetObjectParams) -> GetObjectResult:
        answer = send(ctx, "GET", params["key"])
        kind, etag = answer.headers.get("content-type"), answer.headers.get("etag")
        try:
            content, encoding = answer.content.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            content, encoding = base64.b64encode(answer.content).decode(), "base64"
        return {"content": content, "encoding": encoding, "type": kind, "etag": etag and etag.strip('"')}

    def put_object(self, ctx: Context, params: PutObjectParams) -> PutObjectResult:
        body = params["content"].encode()
        if params.get("encoding") == "base64":
            try:
                body = base64.b64decode(body, validate=True)
            except binascii.Error as error:
                raise Failure.invalid(f"`content` is no Base64: {error}") from None
        headers = {"content-type": params["type"]} if "type" in params else {}
        answer = send(ctx, "PUT", params["key"], body=body, headers=headers)
        ctx.audit("object.put", {"key": params["key"], "size": len(body)})
        etag = answer.headers.get("etag")
        return {"key": params["key"], "size": len(body), "etag": etag and etag.strip('"')}

    def presign_object(self, ctx: Context, params: PresignObjectParams) -> PresignObjectResult:
        now = datetime.datetime.now(datetime.UTC)
        base, path, host = place(ctx, params["key"])
        link = signer(ctx, now).presigned(path, host, params["seconds"])
        expires = now.replace(microsecond=0) + datetime.timedelta(seconds=params["seconds"])
        ctx.audit("link.made", {"key": params["key"], "expires": expires.isoformat()})
        return {"url": f"{base}{canonical_path(path)}?{link}", "expires": expires.isoformat()}


def place(ctx: Context, key: str) -> tuple[str, str, str]:
    """Origin, path and host of an object; of the bucket where there is no key."""
    if key and any(segment in ("", ".", "..") for segment in key.split("/")):
        raise Failure.invalid("a name with nothing, `.` or `..` between slashes means another path to whoever passes it on")
    base = urlsplit(ctx.config["base-url"])
    path = f"{base.path.rstrip('/')}/{ctx.config['bucket']}" + (f"/{key}" if key else "")
    return f"{base.scheme}://{base.netloc}", path, base.netloc


def signer(ctx: Context, now: datetime.datetime) -> Signer:
    return Signer(ctx.key("secret-access-key"), ctx.config["access-key-id"], ctx.config["region"], now)


def send(
    ctx: Context,
    method: str,
    key: str,
    *,
    query: dict[str, str] | None = None,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Response:
    """Sends one signed request; an answer that is no success becomes the failure it means."""
    base, path, host = place(ctx, key)
    signed = signer(ctx, datetime.datetime.now(datetime.UTC)).headers(method, path, query or {}, host, body, headers or {})
    target = f"{base}{canonical_path(path)}" + (f"?{canonical_query(query)}" if query else "")
    answer = http.request(method, target, headers=signed, data=body if method == "PUT" else None)
    if answer.status_code < 300:
        return answer
    code = reason(answer)
    message = f"S3 answered {answer.status_code}: {code}"
    match answer.status_code:
        case 404:
            raise Failure.not_found(message)
        case 409 | 412:
            raise Failure.conflict(message)
        case 429 | 503:
            raise Failure.rate_limited(answer.headers.get("retry-after"))
        case 400 if code in ("InvalidArgument", "KeyTooLongError", "InvalidToken"):
            raise Failure.invalid(message)
        case status:
            raise Failure.upstream(message, status=status)


def reason(answer: Response) -> str:
    """The code of a failed answer."""
    try:
        return (ElementTree.fromstring(answer.content).findtext("Code") or "without a reason")[:80]
    except (ElementTree.ParseError, Failure):
        return "without a reason"


def parsed(answer: Response) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer.content)
    except ElementTree.ParseError as error:
        raise unexpected(str(error)) from None


def text(element: ElementTree.Element, name: str) -> str:
    found = element.findtext(f"{NAMESPACE}{name}")
    if found is None:
        raise unexpected(f"no {name}")
    return found


def unexpected(why: str) -> Failure:
    return Failure.upstream(f"the answer of S3 is not as expected: {why}", status=200)
