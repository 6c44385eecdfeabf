import hashlib
import os

from boto3.s3.transfer import TransferConfig

from check import client, equal, refused

s3 = client()
s3.create_bucket(Bucket="from")
s3.create_bucket(Bucket="onto")
s3.put_object(Bucket="from", Key="a b/ü", Body=b"data", Metadata={"m": "1"}, Tagging="t=1", ContentType="x/y")
src = {"Bucket": "from", "Key": "a b/ü"}
c = s3.copy_object(Bucket="onto", Key="k", CopySource=src)
equal(c["CopyObjectResult"]["ETag"], '"%s"' % hashlib.md5(b"data").hexdigest())
h = s3.get_object(Bucket="onto", Key="k")
equal((h["Body"].read(), h["Metadata"], h["ContentType"]), (b"data", {"m": "1"}, "x/y"))
equal(s3.get_object_tagging(Bucket="onto", Key="k")["TagSet"], [{"Key": "t", "Value": "1"}])
s3.copy_object(Bucket="onto", Key="k2", CopySource="from/a b/ü", MetadataDirective="REPLACE", Metadata={"n": "2"}, TaggingDirective="REPLACE", Tagging="u=2")
h = s3.head_object(Bucket="onto", Key="k2")
equal((h["Metadata"], h["ContentType"]), ({"n": "2"}, "binary/octet-stream"))
equal(s3.get_object_tagging(Bucket="onto", Key="k2")["TagSet"], [{"Key": "u", "Value": "2"}])
refused("InvalidRequest", 400, s3.copy_object, Bucket="onto", Key="k", CopySource="onto/k")
s3.copy_object(Bucket="onto", Key="k", CopySource="onto/k", MetadataDirective="REPLACE", Metadata={"self": "yes"})
equal(s3.head_object(Bucket="onto", Key="k")["Metadata"], {"self": "yes"})
equal(s3.get_object(Bucket="onto", Key="k")["Body"].read(), b"data")
refused("NoSuchKey", 404, s3.copy_object, Bucket="onto", Key="x", CopySource="from/none")
refused("NoSuchBucket", 404, s3.copy_object, Bucket="onto", Key="x", CopySource="none-such/none")
refused("AccessDenied", 403, s3.copy_object, Bucket="onto", Key="x", CopySource="from/secret")
refused("PreconditionFailed", 412, s3.copy_object, Bucket="onto", Key="x", CopySource=src, CopySourceIfMatch='"x"')
refused("PreconditionFailed", 412, s3.copy_object, Bucket="onto", Key="x", CopySource=src, CopySourceIfNoneMatch=c["CopyObjectResult"]["ETag"])
r = s3.copy_object(Bucket="onto", Key="summed", CopySource=src, ChecksumAlgorithm="SHA256")
assert r["CopyObjectResult"]["ChecksumSHA256"]

big = os.urandom(12 << 20)
s3.put_object(Bucket="from", Key="big", Body=big)
s3.copy({"Bucket": "from", "Key": "big"}, "onto", "big", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
equal(s3.get_object(Bucket="onto", Key="big")["Body"].read() == big, True)
s3.copy_object(Bucket="onto", Key="flat", CopySource="onto/big")
h = s3.get_object(Bucket="onto", Key="flat")
equal((h["ETag"], h["Body"].read() == big), ('"%s"' % hashlib.md5(big).hexdigest(), True))
