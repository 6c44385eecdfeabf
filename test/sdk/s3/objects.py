import base64
import hashlib
import io
import zlib

from botocore.exceptions import ClientError

from check import client, equal, refused

s3 = client()
B = "bucket"
s3.create_bucket(Bucket=B)
body = bytes(range(256)) * 1000
put = s3.put_object(Bucket=B, Key="a/b c+d%.txt", Body=body, ContentType="text/x", Metadata={"Some-Key": "Value", "lower": "x"},
                    Tagging="team=blue&n=1", CacheControl="no-store", ContentDisposition="inline", ContentLanguage="de", ContentEncoding="identity")
equal(put["ETag"], '"%s"' % hashlib.md5(body).hexdigest())
equal(put["ChecksumCRC32"], base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode())
equal(put["ChecksumType"], "FULL_OBJECT")
head = s3.head_object(Bucket=B, Key="a/b c+d%.txt")
equal(head["ContentLength"], len(body))
equal(head["Metadata"], {"some-key": "Value", "lower": "x"})
equal((head["ContentType"], head["CacheControl"], head["ContentDisposition"], head["ContentLanguage"], head["ContentEncoding"]),
      ("text/x", "no-store", "inline", "de", "identity"))
assert "ChecksumCRC32" not in head
equal(head["TagCount"] if "TagCount" in head else head["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"], head.get("TagCount", "2"))
got = s3.get_object(Bucket=B, Key="a/b c+d%.txt", ChecksumMode="ENABLED")
equal(got["Body"].read(), body)
equal(got["ChecksumCRC32"], put["ChecksumCRC32"])
equal(got["AcceptRanges"], "bytes")

for spec, want, rng in (("bytes=0-0", body[:1], "bytes 0-0/256000"), ("bytes=10-19", body[10:20], None), ("bytes=-5", body[-5:], None),
                        ("bytes=255990-", body[-10:], None), ("bytes=255999-999999", body[-1:], "bytes 255999-255999/256000")):
    r = s3.get_object(Bucket=B, Key="a/b c+d%.txt", Range=spec)
    equal(r["Body"].read(), want, spec)
    equal(r["ResponseMetadata"]["HTTPStatusCode"], 206)
    if rng:
        equal(r["ContentRange"], rng)
for spec in ("bytes=5-1", "lines=1-2", "bytes=0-1,3-4"):
    r = s3.get_object(Bucket=B, Key="a/b c+d%.txt", Range=spec)
    equal((r["ResponseMetadata"]["HTTPStatusCode"], len(r["Body"].read())), (200, len(body)), spec)
refused("InvalidRange", 416, s3.get_object, Bucket=B, Key="a/b c+d%.txt", Range="bytes=256000-")
refused("416", 416, s3.head_object, Bucket=B, Key="a/b c+d%.txt", Range="bytes=256000-")

etag = put["ETag"]
refused("304", 304, s3.get_object, Bucket=B, Key="a/b c+d%.txt", IfNoneMatch=etag)
refused("PreconditionFailed", 412, s3.get_object, Bucket=B, Key="a/b c+d%.txt", IfMatch='"other"')
s3.get_object(Bucket=B, Key="a/b c+d%.txt", IfMatch=etag)["Body"].read()
refused("304", 304, s3.get_object, Bucket=B, Key="a/b c+d%.txt", IfModifiedSince=head["LastModified"])
refused("PreconditionFailed", 412, s3.get_object, Bucket=B, Key="a/b c+d%.txt", IfUnmodifiedSince="2001-01-01")
refused("412", 412, s3.head_object, Bucket=B, Key="a/b c+d%.txt", IfMatch='"other"')
r = s3.get_object(Bucket=B, Key="a/b c+d%.txt", ResponseContentType="x/y", ResponseContentDisposition="attachment", ResponseCacheControl="a",
                  ResponseContentEncoding="b", ResponseContentLanguage="c", ResponseExpires="2030-01-02")
r["Body"].read()
equal((r["ContentType"], r["ContentDisposition"], r["CacheControl"], r["ContentEncoding"], r["ContentLanguage"]), ("x/y", "attachment", "a", "b", "c"))
equal(r["ResponseMetadata"]["HTTPHeaders"]["expires"], "Wed, 02 Jan 2030 00:00:00 GMT")

refused("NoSuchKey", 404, s3.get_object, Bucket=B, Key="none")
refused("404", 404, s3.head_object, Bucket=B, Key="none")
refused("InvalidArgument", 400, s3.get_object, Bucket=B, Key="a/b c+d%.txt", VersionId="abc")
refused("KeyTooLongError", 400, s3.put_object, Bucket=B, Key="k" * 1025, Body=b"")
refused("MetadataTooLarge", 400, s3.put_object, Bucket=B, Key="k", Body=b"", Metadata={"a": "x" * 3000})
refused("AccessControlListNotSupported", 400, s3.put_object, Bucket=B, Key="k", Body=b"", ACL="public-read")
refused("InvalidStorageClass", 400, s3.put_object, Bucket=B, Key="k", Body=b"", StorageClass="NONE")
refused("AccessDenied", 403, s3.get_object, Bucket=B, Key="secret/x")
refused("403", 403, s3.head_object, Bucket=B, Key="secret/x")

# checksums
for algorithm in ("CRC32", "SHA1", "SHA256"):  # the others need a C library in the client
    r = s3.put_object(Bucket=B, Key="sum", Body=b"123456789", ChecksumAlgorithm=algorithm)
    g = s3.get_object(Bucket=B, Key="sum", ChecksumMode="ENABLED")
    equal(g["Body"].read(), b"123456789", algorithm)
    assert g["Checksum" + algorithm] == r["Checksum" + algorithm], (algorithm, g, r)
r = s3.put_object(Bucket=B, Key="sum", Body=b"123456789", ChecksumCRC32C="4waSgw==")
equal(r["ChecksumCRC32C"], "4waSgw==")
r = s3.put_object(Bucket=B, Key="sum", Body=b"123456789", ChecksumCRC64NVME="rosUhgp5mIg=")
refused("BadDigest", 400, s3.put_object, Bucket=B, Key="sum", Body=b"other", ChecksumCRC64NVME="rosUhgp5mIg=")
refused("BadDigest", 400, s3.put_object, Bucket=B, Key="sum", Body=b"other", ChecksumSHA256="FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")
refused("BadDigest", 400, s3.put_object, Bucket=B, Key="sum", Body=b"x", ContentMD5="JfnnlDI7RTiF9RgfG2JNCw==")
refused("InvalidDigest", 400, s3.put_object, Bucket=B, Key="sum", Body=b"x", ContentMD5="xx")
refused("InvalidRequest", 400, s3.put_object, Bucket=B, Key="sum", Body=b"x", ChecksumCRC32="xx")
equal(s3.get_object(Bucket=B, Key="sum")["Body"].read(), b"123456789", "after refused writes")
plain = client(request_checksum_calculation="when_required", response_checksum_validation="when_required")
r = plain.put_object(Bucket=B, Key="plain", Body=b"123456789")
equal(plain.head_object(Bucket=B, Key="plain", ChecksumMode="ENABLED").get("ChecksumCRC64NVME"), "rosUhgp5mIg=")

# conditional writes
s3.put_object(Bucket=B, Key="once", Body=b"1", IfNoneMatch="*")
refused("PreconditionFailed", 412, s3.put_object, Bucket=B, Key="once", Body=b"2", IfNoneMatch="*")
refused("PreconditionFailed", 412, s3.put_object, Bucket=B, Key="once", Body=b"2", IfMatch='"x"')
refused("NoSuchKey", 404, s3.put_object, Bucket=B, Key="never", Body=b"2", IfMatch='"x"')
s3.put_object(Bucket=B, Key="once", Body=b"3", IfMatch='"%s"' % hashlib.md5(b"1").hexdigest())

# odd keys and streams
for key in ("/lead", "dot/../../x", "//", "ü/ß", "q?x=1&y#z", " ", "a\x01b", "emoji \U0001F600"):
    s3.put_object(Bucket=B, Key=key, Body=key.encode())
    equal(s3.get_object(Bucket=B, Key=key)["Body"].read(), key.encode(), key)
s3.upload_fileobj(io.BytesIO(b"stream"), B, "file")
out = io.BytesIO()
s3.download_fileobj(B, "file", out)
equal(out.getvalue(), b"stream")
s3.put_object(Bucket=B, Key="dir/", Body=b"")
equal(s3.get_object(Bucket=B, Key="dir/")["Body"].read(), b"")
s3.get_waiter("object_exists").wait(Bucket=B, Key="dir/")

# tags
equal(s3.get_object_tagging(Bucket=B, Key="a/b c+d%.txt")["TagSet"], [{"Key": "n", "Value": "1"}, {"Key": "team", "Value": "blue"}])
s3.put_object_tagging(Bucket=B, Key="file", Tagging={"TagSet": [{"Key": "k", "Value": ""}]})
equal(s3.get_object_tagging(Bucket=B, Key="file")["TagSet"], [{"Key": "k", "Value": ""}])
s3.delete_object_tagging(Bucket=B, Key="file")
equal(s3.get_object_tagging(Bucket=B, Key="file")["TagSet"], [])
refused("InvalidTag", 400, s3.put_object_tagging, Bucket=B, Key="file", Tagging={"TagSet": [{"Key": "k", "Value": ""}] * 2})
refused("NoSuchKey", 404, s3.get_object_tagging, Bucket=B, Key="none")

# attributes
a = s3.get_object_attributes(Bucket=B, Key="file", ObjectAttributes=["ETag", "ObjectSize", "StorageClass", "Checksum"])
equal((a["ObjectSize"], a["StorageClass"], a["ETag"]), (6, "STANDARD", hashlib.md5(b"stream").hexdigest()))
assert a["Checksum"]["ChecksumCRC32"]

# deletes
s3.delete_object(Bucket=B, Key="none")
d = s3.delete_objects(Bucket=B, Delete={"Objects": [{"Key": "file"}, {"Key": "secret"}, {"Key": "none"}, {"Key": "ü/ß"}]})
equal(sorted(x["Key"] for x in d["Deleted"]), ["file", "none", "ü/ß"])
equal([(x["Key"], x["Code"]) for x in d["Errors"]], [("secret", "AccessDenied")])
assert "Deleted" not in s3.delete_objects(Bucket=B, Delete={"Objects": [{"Key": "dir/"}], "Quiet": True})
refused("NoSuchKey", 404, s3.get_object, Bucket=B, Key="file")
refused("MalformedXML", 400, s3.delete_objects, Bucket=B, Delete={"Objects": [{"Key": str(i)} for i in range(1001)]})
