import datetime

from check import OTHER, client, equal, refused

s3 = client()
equal(s3.list_buckets()["Buckets"], [], "no buckets")
s3.create_bucket(Bucket="sagemaker-us-east-1-123456789012")
s3.create_bucket(Bucket="sagemaker-us-east-1-123456789012")  # us-east-1 says yes again
s3.create_bucket(Bucket="west", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
listed = s3.list_buckets()
equal([b["Name"] for b in listed["Buckets"]], ["sagemaker-us-east-1-123456789012", "west"], "names")
age = datetime.datetime.now(datetime.timezone.utc) - listed["Buckets"][0]["CreationDate"]
assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=2), age
assert listed["Owner"]["ID"]
pages = client().get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 1})
equal([[b["Name"] for b in p["Buckets"]] for p in pages], [["sagemaker-us-east-1-123456789012"], ["west"]], "pages")

import boto3

resource = boto3.resource("s3")
assert resource.Bucket("west").creation_date is not None
assert resource.Bucket("none-such").creation_date is None

equal(s3.get_bucket_location(Bucket="west")["LocationConstraint"], "us-west-2")
equal(s3.get_bucket_location(Bucket="sagemaker-us-east-1-123456789012")["LocationConstraint"], None)
head = s3.head_bucket(Bucket="west", ExpectedBucketOwner="123456789012")
equal(head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"], "us-west-2")
equal(head["BucketRegion"], "us-west-2")
refused("403", 403, s3.head_bucket, Bucket="west", ExpectedBucketOwner="999999999999")
refused("404", 404, s3.head_bucket, Bucket="none-such")
assert "Status" not in s3.get_bucket_versioning(Bucket="west")

other = client(key=OTHER)
equal(other.list_buckets()["Buckets"], [], "another account's")
refused("403", 403, other.head_bucket, Bucket="west")
refused("AccessDenied", 403, other.list_objects_v2, Bucket="west")
refused("BucketAlreadyExists", 409, other.create_bucket, Bucket="west", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
w = client("us-west-2")
refused("BucketAlreadyOwnedByYou", 409, w.create_bucket, Bucket="west", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
refused("IllegalLocationConstraintException", 400, w.create_bucket, Bucket="west2")
refused("IllegalLocationConstraintException", 400, w.create_bucket, Bucket="west2", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
for name in ("abc_def", "Abc", "192.168.5.4", "a..b", "-abc", "xn--abc"):
    refused("InvalidBucketName", 400, client().create_bucket, Bucket=name) if "_" not in name else None

refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket="none-such")
refused("NoSuchBucket", 404, s3.delete_bucket, Bucket="none-such")
s3.put_object(Bucket="west", Key="k", Body=b"")
refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket="west")
s3.delete_object(Bucket="west", Key="k")
s3.delete_bucket(Bucket="west")
s3.get_waiter("bucket_not_exists").wait(Bucket="west")

# What is not there says so, once: nobody repeats a 501.
once = client(retries={"max_attempts": 5})
bucket = "sagemaker-us-east-1-123456789012"
refused("NotImplemented", 501, once.put_bucket_policy, Bucket=bucket, Policy="{}")
refused("NotImplemented", 501, once.put_bucket_lifecycle_configuration, Bucket=bucket,
        LifecycleConfiguration={"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]})

# What a bucket has not, it says in S3's words; deleting it is no error.
for code, what in (("NoSuchCORSConfiguration", "bucket_cors"), ("NoSuchLifecycleConfiguration", "bucket_lifecycle_configuration"),
                   ("NoSuchBucketPolicy", "bucket_policy"), ("NoSuchBucketPolicy", "bucket_policy_status"), ("NoSuchTagSet", "bucket_tagging"),
                   ("NoSuchWebsiteConfiguration", "bucket_website"), ("ReplicationConfigurationNotFoundError", "bucket_replication"),
                   ("ObjectLockConfigurationNotFoundError", "object_lock_configuration")):
    answer = refused(code, 404, getattr(s3, "get_" + what), Bucket=bucket)
    equal(answer["Error"]["BucketName"], bucket)
    refused("NoSuchBucket", 404, getattr(s3, "get_" + what), Bucket="none-such")
for what in ("bucket_cors", "bucket_lifecycle", "bucket_policy", "bucket_website", "bucket_replication"):
    getattr(s3, "delete_" + what)(Bucket=bucket)
equal(s3.get_bucket_request_payment(Bucket=bucket)["Payer"], "BucketOwner")
for what in ("logging", "notification_configuration", "accelerate_configuration"):
    equal({k for k in getattr(s3, "get_bucket_" + what)(Bucket=bucket) if k != "ResponseMetadata"}, set(), what)
for what in ("analytics", "inventory", "metrics"):
    equal(getattr(s3, f"list_bucket_{what}_configurations")(Bucket=bucket)["IsTruncated"], False, what)

# Rules about pages of other origins.
rules = [{"ID": "one", "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["x-amz-*"],
          "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}, {"AllowedMethods": ["HEAD"], "AllowedOrigins": ["*"]}]
s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
equal(s3.get_bucket_cors(Bucket=bucket)["CORSRules"], rules)
for bad in ({"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}, {"AllowedMethods": ["GET"], "AllowedOrigins": ["*.*"]},
            {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": ["x-*"]}):
    refused("InvalidRequest", 400, s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [bad]})
s3.delete_bucket_cors(Bucket=bucket)
refused("NoSuchCORSConfiguration", 404, s3.get_bucket_cors, Bucket=bucket)

# Tags of buckets.
tags = [{"Key": f"k{i:02}", "Value": "ü" * i} for i in range(50)]
s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
equal(s3.get_bucket_tagging(Bucket=bucket)["TagSet"], tags)
refused("BadRequest", 400, s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": tags + [{"Key": "one", "Value": "more"}]})
refused("InvalidTag", 400, s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]})
refused("InvalidTag", 400, s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": "aws:x", "Value": "1"}]})
equal(s3.get_bucket_tagging(Bucket=bucket)["TagSet"], tags, "after refused ones")
s3.delete_bucket_tagging(Bucket=bucket)
refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)

# Documents that AWS has for every bucket.
rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
equal(rule, [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}])
kms = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/x"}, "BucketKeyEnabled": True}]}
s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=kms)
equal(s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"], kms)
s3.delete_bucket_encryption(Bucket=bucket)
equal(s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"], rule)
block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
equal(set(block.values()), {True})
s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
equal(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
      {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False})
s3.delete_public_access_block(Bucket=bucket)
refused("NoSuchPublicAccessBlockConfiguration", 404, s3.get_public_access_block, Bucket=bucket)
equal(s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"], [{"ObjectOwnership": "BucketOwnerEnforced"}])
s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
refused("NotImplemented", 501, s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
acl = s3.get_bucket_acl(Bucket=bucket)
equal((acl["Grants"][0]["Permission"], acl["Grants"][0]["Grantee"]["Type"], acl["Grants"][0]["Grantee"]["ID"]),
      ("FULL_CONTROL", "CanonicalUser", acl["Owner"]["ID"]))
refused("AccessControlListNotSupported", 400, s3.put_bucket_acl, Bucket=bucket, ACL="public-read")
s3.put_object(Bucket=bucket, Key="k", Body=b"")
equal(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"], acl["Grants"])
refused("NoSuchKey", 404, s3.get_object_acl, Bucket=bucket, Key="none")
refused("AccessControlListNotSupported", 400, s3.put_object_acl, Bucket=bucket, Key="k", ACL="public-read")
