"""Which operation of AWS a call is, by its method, its path and its headers."""

from __future__ import annotations

import re

from tests.services.loopback import Exchange


def operation_of(exchange: Exchange) -> tuple[str, str]:
    """Return which service is called, and which of its operations, as boto3's API names it."""
    if target := exchange.headers.get("x-amz-target"):
        service, _, operation = target.partition(".")
        return service, operation
    if exchange.path.startswith("/2015-03-31/"):
        return "lambda", _of_lambda(exchange)
    signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", exchange.headers.get("authorization", ""))
    if action := re.search(rb"\bAction=(\w+)", exchange.body[:1000] if signed and signed[1] != "s3" else b""):
        return signed[1] if signed else "", action[1].decode()
    return "s3", _of_s3(exchange)


def _of_lambda(exchange: Exchange) -> str:
    found = re.fullmatch(r"/2015-03-31/functions/?([^/]+)?(?:/([^/]+))?/?", exchange.path)
    name, rest = found.groups() if found else (None, exchange.path)
    operations = {
        ("POST", False, None): "CreateFunction",
        ("GET", True, None): "GetFunction",
        ("DELETE", True, None): "DeleteFunction",
        ("POST", True, "invocations"): "Invoke",
        ("GET", True, "configuration"): "GetFunctionConfiguration",
        ("PUT", True, "configuration"): "UpdateFunctionConfiguration",
        ("PUT", True, "code"): "UpdateFunctionCode",
        ("POST", True, "versions"): "PublishVersion",
    }
    return operations.get((exchange.method, bool(name), rest), f"{exchange.method} {exchange.path}")


def _of_s3(exchange: Exchange) -> str:
    key, query = "/" in exchange.path.strip("/"), exchange.query
    match exchange.method, key:
        case "GET", True:
            return "ListParts" if "uploadId" in query else "GetObject"
        case "HEAD", True:
            return "HeadObject"
        case "PUT", True if "partNumber" in query:
            return "UploadPart"
        case "PUT", True:
            return "CopyObject" if "x-amz-copy-source" in exchange.headers else "PutObject"
        case "POST", True:
            return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
        case "DELETE", True:
            return "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
        case "GET", False if "uploads" in query:
            return "ListMultipartUploads"
        case "GET", False if exchange.path.strip("/"):
            return "ListObjectsV2" if query.get("list-type") == "2" else "ListObjects"
        case "GET", False:
            return "ListBuckets"
        case "POST", False if "delete" in query:
            return "DeleteObjects"
    others = {"PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
    return others.get(exchange.method, f"{exchange.method} {exchange.path}")
