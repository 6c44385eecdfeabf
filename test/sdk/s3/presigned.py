import urllib.error
import urllib.request

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
