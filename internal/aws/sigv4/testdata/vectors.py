"""Writes vectors.json: requests as botocore signs them.

Run with a Python that has botocore: python vectors.py > vectors.json
"""
import base64
import contextlib
import datetime
import json
import sys
from unittest import mock

import boto3
import botocore
import botocore.auth as auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)
KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=signs"
CASES = []


def frozen():
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(auth, "get_current_datetime", lambda *a, **k: NOW.replace(tzinfo=None)))
    stack.enter_context(mock.patch.object(auth.time, "time", lambda: NOW.timestamp()))
    return stack


def sent(name, service, prepared, **more):
    body = prepared.body
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    # what names this machine is not signed
    CASES.append({
        "name": name, "service": service, "method": prepared.method, "url": prepared.url,
        "headers": {k: v.decode() if isinstance(v, bytes) else v for k, v in prepared.headers.items() if k.lower() not in ("user-agent", "amz-sdk-invocation-id", "amz-sdk-request")},
        "body": base64.b64encode(body or b"").decode(), **more,
    })


def plain(name, cls, service, method, url, body=b"", headers=None, token=None, **kw):
    r = AWSRequest(method=method, url=url, data=body, headers=headers or {})
    if kw.pop("unsigned", False):
        r.context["payload_signing_enabled"] = False
    with frozen():
        cls(Credentials(KEY, SECRET, token), service, "eu-west-1", **kw).add_auth(r)
    sent(name, service, r.prepare())


def client(service, endpoint, token=None, **config):
    return boto3.client(service, endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id=KEY,
                        aws_secret_access_key=SECRET, aws_session_token=token, config=Config(**config))


def capture(name, c, call):
    """Lets a client build, sign and almost send a request."""
    class Stop(Exception):
        pass

    def stop(request, **_):
        sent(name, c.meta.service_model.signing_name, request)
        raise Stop
    c.meta.events.register_first("before-send", stop)
    with frozen():
        try:
            call(c)
        except Stop:
            return
    raise SystemExit(name + " was not sent")


def presigned(name, c, op, params, method="GET"):
    with frozen():
        url = c.generate_presigned_url(op, Params=params, ExpiresIn=3600)
    sent(name, c.meta.service_model.signing_name, AWSRequest(method=method, url=url).prepare())


H = "http://127.0.0.1:2527"
S = "https://127.0.0.1:2527"
plain("json post", auth.SigV4Auth, "sagemaker", "POST", H + "/", b'{"a":1}', {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"})
plain("json post with token", auth.SigV4Auth, "sagemaker", "POST", H + "/", b'{"a":1}', {"X-Amz-Target": "SageMaker.ListModels"}, token=TOKEN)
plain("form", auth.SigV4Auth, "sts", "POST", "https://sts.eu-west-1.amazonaws.com/", b"Action=GetCallerIdentity&Version=2011-06-15", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
plain("double encoding", auth.SigV4Auth, "sagemaker", "POST", H + "/endpoints/a%20b%2Fc/invocations", b"x")
plain("dots and slashes", auth.SigV4Auth, "sagemaker", "GET", H + "/a/./b//../c/")
plain("header spaces", auth.SigV4Auth, "sagemaker", "GET", H + "/", headers={"X-Amz-Meta-A": "  a   b  c "})
plain("query order", auth.SigV4Auth, "sagemaker", "GET", H + "/?b=2&a=2&a=1&A=3&c=%20x%2By&d=")
plain("s3 dots", auth.S3SigV4Auth, "s3", "GET", H + "/bucket/a/../b//c%20d%2Be~f")
plain("s3 unsigned body over https", auth.S3SigV4Auth, "s3", "PUT", S + "/bucket/k", b"body", unsigned=True)
plain("query auth", auth.SigV4QueryAuth, "sts", "GET", H + "/?Action=GetCallerIdentity&Version=2011-06-15", token=TOKEN, expires=900)

path = dict(s3={"addressing_style": "path"}, signature_version="s3v4")
capture("put object over http", client("s3", H), lambda c: c.put_object(Bucket="bucket", Key="a b/é+.txt", Body=b"hello", Metadata={"K": "v  w"}))
capture("put object over https", client("s3", S, token=TOKEN), lambda c: c.put_object(Bucket="bucket", Key="k", Body=b"hello world"))
capture("put empty over https", client("s3", S), lambda c: c.put_object(Bucket="bucket", Key="k", Body=b""))
capture("list objects", client("s3", H), lambda c: c.list_objects_v2(Bucket="bucket", Prefix="a b/&=+", Delimiter="/"))
capture("virtual host", client("s3", "http://localhost:2527", s3={"addressing_style": "virtual"}), lambda c: c.get_object(Bucket="bucket", Key="k"))
capture("describe", client("sagemaker", H), lambda c: c.describe_training_job(TrainingJobName="job"))
capture("metrics", client("cloudwatch", H), lambda c: c.put_metric_data(Namespace="N", MetricData=[{"MetricName": "m%d" % i, "Value": 1} for i in range(400)]))
capture("logs", client("logs", H), lambda c: c.describe_log_groups())
presigned("presigned get", client("s3", H, token=TOKEN, **path), "get_object", {"Bucket": "bucket", "Key": "a b+é"})
presigned("presigned put", client("s3", H, **path), "put_object", {"Bucket": "bucket", "Key": "k"}, "PUT")
presigned("presigned part", client("s3", H, **path), "upload_part", {"Bucket": "bucket", "Key": "k", "PartNumber": 2, "UploadId": "u/1+"}, "PUT")
v2 = dict(s3={"addressing_style": "path"}, signature_version="s3")
presigned("presigned get, version 2", client("s3", H, token=TOKEN, **v2), "get_object", {"Bucket": "bucket", "Key": "a b+é", "ResponseContentType": "text/plain"})
presigned("presigned part, version 2", client("s3", H, **v2), "upload_part", {"Bucket": "bucket", "Key": "k", "PartNumber": 2, "UploadId": "u"}, "PUT")

json.dump({"botocore": botocore.__version__, "key": KEY, "secret": SECRET, "token": TOKEN, "time": int(NOW.timestamp()), "cases": CASES}, sys.stdout, indent=1)
