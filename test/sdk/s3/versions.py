from check import client, equal, refused

s3 = client()
s3.create_bucket(Bucket="versions")
plain = s3.put_object(Bucket="versions", Key="k", Body=b"null")
assert "VersionId" not in plain
for bad, code in (({}, "IllegalVersioningConfigurationException"), ({"Status": "On"}, "MalformedXML")):
    refused(code, 400, s3.put_bucket_versioning, Bucket="versions", VersioningConfiguration=bad)
s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
equal(s3.get_bucket_versioning(Bucket="versions")["Status"], "Enabled")
equal(s3.head_object(Bucket="versions", Key="k")["VersionId"], "null")

ids = [s3.put_object(Bucket="versions", Key="k", Body=f"v{i}".encode(), Tagging=f"n={i}")["VersionId"] for i in range(3)]
equal(len(set(ids)), 3)
got = s3.get_object(Bucket="versions", Key="k")
equal((got["Body"].read(), got["VersionId"]), (b"v2", ids[2]))
for i, v in enumerate(ids):
    got = s3.get_object(Bucket="versions", Key="k", VersionId=v)
    equal((got["Body"].read(), got["VersionId"], got["TagCount"]), (f"v{i}".encode(), v, 1))
    tagging = s3.get_object_tagging(Bucket="versions", Key="k", VersionId=v)
    equal((tagging["TagSet"], tagging["VersionId"]), ([{"Key": "n", "Value": str(i)}], v))
equal(s3.get_object(Bucket="versions", Key="k", VersionId="null")["Body"].read(), b"null")
equal(s3.put_object_tagging(Bucket="versions", Key="k", VersionId=ids[0], Tagging={"TagSet": []})["VersionId"], ids[0])
equal(s3.get_object_tagging(Bucket="versions", Key="k")["TagSet"], [{"Key": "n", "Value": "2"}])
attributes = s3.get_object_attributes(Bucket="versions", Key="k", VersionId=ids[1], ObjectAttributes=["ObjectSize", "ETag"])
equal((attributes["ObjectSize"], attributes["VersionId"]), (2, ids[1]))
error = refused("NoSuchVersion", 404, s3.get_object, Bucket="versions", Key="other", VersionId=ids[0])
equal((error["Error"]["Key"], error["Error"]["VersionId"]), ("other", ids[0]))
error = refused("InvalidArgument", 400, s3.get_object, Bucket="versions", Key="k", VersionId="nonsense")
equal((error["Error"]["Message"], error["Error"]["ArgumentValue"]), ("Invalid version id specified", "nonsense"))

# A deletion covers the key with a marker.
deleted = s3.delete_object(Bucket="versions", Key="k")
marker = deleted["VersionId"]
equal(deleted["DeleteMarker"], True)
for call in (s3.get_object, s3.head_object):
    error = refused("NoSuchKey" if call == s3.get_object else "404", 404, call, Bucket="versions", Key="k")
    headers = error["ResponseMetadata"]["HTTPHeaders"]
    equal((headers["x-amz-delete-marker"], headers["x-amz-version-id"]), ("true", marker))
    error = refused("MethodNotAllowed" if call == s3.get_object else "405", 405, call, Bucket="versions", Key="k", VersionId=marker)
    headers = error["ResponseMetadata"]["HTTPHeaders"]
    equal((headers["x-amz-delete-marker"], headers["allow"]), ("true", "DELETE"))
    assert headers["last-modified"]
equal(s3.list_objects_v2(Bucket="versions")["KeyCount"], 0)
refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket="versions")
refused("InvalidRequest", 400, s3.copy_object, Bucket="versions", Key="x", CopySource={"Bucket": "versions", "Key": "k", "VersionId": marker})
refused("NoSuchKey", 404, s3.copy_object, Bucket="versions", Key="x", CopySource={"Bucket": "versions", "Key": "k"})

# The listing of versions, whole and in pages.
s3.put_object(Bucket="versions", Key="dir/a b+ü", Body=b"1")
s3.put_object(Bucket="versions", Key="dir/a b+ü", Body=b"2")
whole = s3.list_object_versions(Bucket="versions")
equal([(v["Key"], v["VersionId"], v["IsLatest"], v["Size"]) for v in whole["Versions"] if v["Key"] == "k"],
      [("k", ids[2], False, 2), ("k", ids[1], False, 2), ("k", ids[0], False, 2), ("k", "null", False, 4)])
equal([(m["Key"], m["VersionId"], m["IsLatest"]) for m in whole["DeleteMarkers"]], [("k", marker, True)])
equal([v["IsLatest"] for v in whole["Versions"] if v["Key"].startswith("dir/")], [True, False])
assert whole["Versions"][0]["ETag"].startswith('"') and whole["Versions"][0]["Owner"]["ID"] and whole["Versions"][0]["ChecksumAlgorithm"]
everything = {(v["Key"], v["VersionId"]) for v in whole["Versions"] + whole["DeleteMarkers"]}
for size in (1, 2, 3):
    seen = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="versions", PaginationConfig={"PageSize": size}):
        rows = page.get("Versions", []) + page.get("DeleteMarkers", [])
        assert len(rows) <= size
        seen += [(v["Key"], v["VersionId"]) for v in rows]
    equal((len(seen), set(seen)), (len(everything), everything), f"pages of {size}")
rolled = s3.list_object_versions(Bucket="versions", Delimiter="/")
equal([p["Prefix"] for p in rolled["CommonPrefixes"]], ["dir/"])
equal(len(rolled["Versions"]), 4)
refused("InvalidArgument", 400, s3.list_object_versions, Bucket="versions", VersionIdMarker=ids[0])

# Restoring: the marker goes, or an older version is copied over.
gone = s3.delete_object(Bucket="versions", Key="k", VersionId=marker)
equal((gone["DeleteMarker"], gone["VersionId"]), (True, marker))
equal(s3.get_object(Bucket="versions", Key="k")["Body"].read(), b"v2")
copied = s3.copy_object(Bucket="versions", Key="k", CopySource={"Bucket": "versions", "Key": "k", "VersionId": ids[0]})
equal(copied["CopySourceVersionId"], ids[0])
assert copied["VersionId"] not in ids
equal(s3.get_object(Bucket="versions", Key="k")["Body"].read(), b"v0")
upload = s3.create_multipart_upload(Bucket="versions", Key="parts")["UploadId"]
part = s3.upload_part_copy(Bucket="versions", Key="parts", UploadId=upload, PartNumber=1, CopySource={"Bucket": "versions", "Key": "k", "VersionId": ids[1]})
equal(part["CopySourceVersionId"], ids[1])
done = s3.complete_multipart_upload(Bucket="versions", Key="parts", UploadId=upload,
                                    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
equal(s3.get_object(Bucket="versions", Key="parts", VersionId=done["VersionId"])["Body"].read(), b"v1")

# Suspended: the null version is written over.
s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Suspended"})
for body in (b"s1", b"s2"):
    equal(s3.put_object(Bucket="versions", Key="k", Body=body)["VersionId"], "null")
nulls = [v for v in s3.list_object_versions(Bucket="versions", Prefix="k")["Versions"] if v["VersionId"] == "null"]
equal([(v["IsLatest"], v["Size"]) for v in nulls], [(True, 2)])
deleted = s3.delete_object(Bucket="versions", Key="k")
equal((deleted["DeleteMarker"], deleted["VersionId"]), (True, "null"))

# DeleteObjects tells of each, and takes versions.
s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
answer = s3.delete_objects(Bucket="versions", Delete={"Objects": [{"Key": "parts"}, {"Key": "k", "VersionId": ids[1]}, {"Key": "k", "VersionId": "bad"}]})
by = {d["Key"]: d for d in answer["Deleted"]}
equal((by["parts"]["DeleteMarker"], bool(by["parts"]["DeleteMarkerVersionId"]), by["k"]), (True, True, {"Key": "k", "VersionId": ids[1]}))
equal([(e["Key"], e["VersionId"], e["Code"]) for e in answer["Errors"]], [("k", "bad", "NoSuchVersion")])
everything = s3.list_object_versions(Bucket="versions")
targets = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in everything["Versions"] + everything["DeleteMarkers"]]
answer = s3.delete_objects(Bucket="versions", Delete={"Objects": targets, "Quiet": True})
assert "Deleted" not in answer and "Errors" not in answer, answer
s3.delete_bucket(Bucket="versions")
