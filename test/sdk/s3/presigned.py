import os
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from check import client, equal

for version in ("s3v4", "s3"):
    s3 = client(signature_version=version)
    try:
        s3.create_bucket(Bucket="bucket")
    except Exception:
        s3 = client()
        s3.create_bucket(Bucket="bucket")
        s3 = client(signature_version=version)
    url = s3.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "k ü+%", "ContentType": "text/plain"}, 60)
    request = urllib.request.Request(url, data=b"presigned", method="PUT", headers={"Content-Type": "text/plain"})
    try:
        equal(urllib.request.urlopen(request).status, 200)
    except urllib.error.HTTPError as e:
        raise SystemExit((url, e.read()))
    url = s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "k ü+%", "ResponseContentType": "x/y"}, 60)
    answer = urllib.request.urlopen(url)
    equal((answer.read(), answer.headers["Content-Type"]), (b"presigned", "x/y"))
    try:
        urllib.request.urlopen(url.replace("x%2Fy", "x%2Fz"))
        raise SystemExit("a changed URL was served")
    except urllib.error.HTTPError as e:
        equal(e.code, 403)
        assert b"<Code>SignatureDoesNotMatch</Code>" in e.read()

# Virtual hosts: the bucket is in the name of the host.
lookup = socket.getaddrinfo
socket.getaddrinfo = lambda host, *args, **kwargs: lookup("127.0.0.1" if host.endswith(".localhost") else host, *args, **kwargs)
os.environ["AWS_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
for version in ("s3v4", "s3"):
    s3 = client(signature_version=version, s3={"addressing_style": "virtual"})
    url = s3.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "a//b ü", "ContentType": "text/plain"}, 60)
    equal(urlsplit(url).hostname, "bucket.localhost")
    request = urllib.request.Request(url, data=version.encode(), method="PUT", headers={"Content-Type": "text/plain"})
    equal(urllib.request.urlopen(request).status, 200)
    url = s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "a//b ü"}, 60)
    equal(urllib.request.urlopen(url).read(), version.encode())
s3 = client(s3={"addressing_style": "virtual"})
s3.put_object(Bucket="bucket", Key="x/y", Body=b"virtual", Metadata={"a": "1"})
equal(s3.get_object(Bucket="bucket", Key="x/y")["Body"].read(), b"virtual")
equal([o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="x/")["Contents"]], ["x/y"])
s3.copy_object(Bucket="bucket", Key="x/z", CopySource="bucket/x/y")
s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "x/y"}, {"Key": "x/z"}]})
s3.create_bucket(Bucket="by-host")
s3.delete_bucket(Bucket="by-host")
try:
    s3.get_object(Bucket="bucket", Key="x/y")
    raise SystemExit("a deleted key is read")
except ClientError as e:
    equal(e.response["Error"]["Code"], "NoSuchKey")
