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
refused("NotImplemented", 501, client(retries={"max_attempts": 5}).get_bucket_policy, Bucket="sagemaker-us-east-1-123456789012")
refused("NotImplemented", 501, s3.put_bucket_versioning, Bucket="sagemaker-us-east-1-123456789012", VersioningConfiguration={"Status": "Enabled"})
