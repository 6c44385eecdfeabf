import hashlib
import os
import tempfile

from boto3.s3.transfer import TransferConfig

from check import client, equal, refused

s3 = client()
B, MB = "bucket", 1 << 20
s3.create_bucket(Bucket=B)
data = os.urandom(17 * MB + 5)
with tempfile.TemporaryDirectory() as d:
    path = os.path.join(d, "f")
    with open(path, "wb") as f:
        f.write(data)
    config = TransferConfig(multipart_threshold=5 * MB, multipart_chunksize=5 * MB, max_concurrency=4)
    s3.upload_file(path, B, "big", ExtraArgs={"Metadata": {"a": "b"}, "ContentType": "x/y"}, Config=config)
    s3.download_file(B, "big", path + "2", Config=config)
    with open(path + "2", "rb") as f:
        equal(f.read() == data, True, "downloaded")
head = s3.head_object(Bucket=B, Key="big", ChecksumMode="ENABLED")
parts = [data[i:i + 5 * MB] for i in range(0, len(data), 5 * MB)]
equal(head["ETag"], '"%s-%d"' % (hashlib.md5(b"".join(hashlib.md5(p).digest() for p in parts)).hexdigest(), len(parts)))
equal((head["ContentLength"], head["Metadata"], head["ContentType"]), (len(data), {"a": "b"}, "x/y"))
assert head["ChecksumType"] in ("COMPOSITE", "FULL_OBJECT"), head
part = s3.get_object(Bucket=B, Key="big", PartNumber=2)
equal(part["Body"].read() == parts[1], True, "part 2")
equal((part["PartsCount"], part["ContentRange"], part["ResponseMetadata"]["HTTPStatusCode"]), (4, "bytes %d-%d/%d" % (5 * MB, 10 * MB - 1, len(data)), 206))
equal(s3.get_object(Bucket=B, Key="big", Range="bytes=%d-%d" % (5 * MB - 3, 5 * MB + 2))["Body"].read(), data[5 * MB - 3:5 * MB + 3])
refused("InvalidPartNumber", 416, s3.get_object, Bucket=B, Key="big", PartNumber=5)
a = s3.get_object_attributes(Bucket=B, Key="big", ObjectAttributes=["ObjectParts"], MaxParts=3)
equal((a["ObjectParts"]["TotalPartsCount"], a["ObjectParts"]["IsTruncated"], [p["Size"] for p in a["ObjectParts"]["Parts"]]), (4, True, [5 * MB] * 3))

# by hand
u = s3.create_multipart_upload(Bucket=B, Key="hand", ChecksumAlgorithm="SHA256")
equal((u["ChecksumAlgorithm"], u["ChecksumType"], u["Bucket"], u["Key"]), ("SHA256", "COMPOSITE", B, "hand"))
up = dict(Bucket=B, Key="hand", UploadId=u["UploadId"])
p1 = s3.upload_part(PartNumber=1, Body=parts[0], ChecksumAlgorithm="SHA256", **up)
p2 = s3.upload_part_copy(PartNumber=2, CopySource={"Bucket": B, "Key": "big"}, CopySourceRange="bytes=0-%d" % (5 * MB - 1), **up)
p3 = s3.upload_part(PartNumber=7, Body=b"tail", ChecksumAlgorithm="SHA256", **up)
equal(p2["CopyPartResult"]["ETag"], '"%s"' % hashlib.md5(parts[0]).hexdigest())
refused("InvalidArgument", 400, s3.upload_part_copy, PartNumber=3, CopySource={"Bucket": B, "Key": "big"}, CopySourceRange="bytes=0-%d" % len(data), **up)
refused("InvalidArgument", 400, s3.upload_part, PartNumber=10001, Body=b"", **up)
l = s3.list_parts(MaxParts=2, **up)
equal(([p["PartNumber"] for p in l["Parts"]], l["IsTruncated"], l["NextPartNumberMarker"]), ([1, 2], True, 2))
equal([p["PartNumber"] for p in s3.list_parts(PartNumberMarker=2, **up)["Parts"]], [7])
equal([(x["Key"], x["UploadId"], x["ChecksumAlgorithm"], x["ChecksumType"]) for x in s3.list_multipart_uploads(Bucket=B)["Uploads"]],
      [("hand", u["UploadId"], "SHA256", "COMPOSITE")])
listed = [{"PartNumber": 1, "ETag": p1["ETag"], "ChecksumSHA256": p1["ChecksumSHA256"]}, {"PartNumber": 2, "ETag": p2["CopyPartResult"]["ETag"]},
          {"PartNumber": 7, "ETag": p3["ETag"]}]
refused("InvalidPartOrder", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": listed[::-1]}, **up)
error = refused("InvalidPart", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": [{"PartNumber": 9, "ETag": '"x"'}]}, **up)["Error"]
equal((error["UploadId"], error["PartNumber"], error["ETag"]), (up["UploadId"], "9", "x"))
refused("InvalidPart", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"x"'}]}, **up)
error = refused("EntityTooSmall", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": [listed[2], {"PartNumber": 8, "ETag": s3.upload_part(PartNumber=8, Body=b"x", **up)["ETag"]}]}, **up)["Error"]
equal((error["MinSizeAllowed"], error["PartNumber"]), ("5242880", "7"))
done = s3.complete_multipart_upload(MultipartUpload={"Parts": listed}, **up)
assert done["ChecksumSHA256"].endswith("-3"), done
assert done["Location"].startswith("http"), done
again = s3.complete_multipart_upload(MultipartUpload={"Parts": listed}, **up)
equal(again["ETag"], done["ETag"])
equal(s3.get_object(Bucket=B, Key="hand")["Body"].read() == parts[0] + parts[0] + b"tail", True)
refused("NoSuchUpload", 404, s3.upload_part, PartNumber=1, Body=b"x", **up)

u = s3.create_multipart_upload(Bucket=B, Key="gone")
up = dict(Bucket=B, Key="gone", UploadId=u["UploadId"])
s3.upload_part(PartNumber=1, Body=b"x", **up)
s3.abort_multipart_upload(**up)
refused("NoSuchUpload", 404, s3.list_parts, **up)
refused("NoSuchUpload", 404, s3.abort_multipart_upload, **up)
assert "Uploads" not in s3.list_multipart_uploads(Bucket=B)
refused("404", 404, s3.head_object, Bucket=B, Key="gone")

# a whole object's sum, told at the end
u = s3.create_multipart_upload(Bucket=B, Key="full", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
up = dict(Bucket=B, Key="full", UploadId=u["UploadId"])
import base64
import zlib

ps = [{"PartNumber": i + 1, "ETag": s3.upload_part(PartNumber=i + 1, Body=p, **up)["ETag"]} for i, p in enumerate(parts)]
crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
refused("BadDigest", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": ps}, ChecksumCRC32="AAAAAA==", ChecksumType="FULL_OBJECT", **up)
done = s3.complete_multipart_upload(MultipartUpload={"Parts": ps}, ChecksumCRC32=crc, ChecksumType="FULL_OBJECT", MpuObjectSize=len(data), **up)
equal((done["ChecksumCRC32"], done["ChecksumType"]), (crc, "FULL_OBJECT"))
equal(s3.get_object(Bucket=B, Key="full", ChecksumMode="ENABLED")["Body"].read() == data, True)
refused("InvalidRequest", 400, s3.create_multipart_upload, Bucket=B, Key="x", ChecksumAlgorithm="SHA1", ChecksumType="FULL_OBJECT")
