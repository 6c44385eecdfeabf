"""boto3: the other services as SageMaker work uses them."""

import datetime
import io
import json
import time
import urllib.error
import urllib.request

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

from helpers import name, run


@pytest.fixture(scope="module")
def b(s3):
    b = name("bucket")
    s3.create_bucket(Bucket=b)
    return b


def status(failed):
    r = failed.value.response
    return r["ResponseMetadata"]["HTTPStatusCode"], r["Error"]["Code"]


def test_bucket(s3):
    b = name("fresh")
    with pytest.raises(ClientError) as e:
        s3.head_bucket(Bucket=b)
    assert status(e)[0] == 404
    s3.create_bucket(Bucket=b)
    assert s3.head_bucket(Bucket=b)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert b in [x["Name"] for x in s3.list_buckets()["Buckets"]]
    s3.put_object(Bucket=b, Key="k", Body=b"")
    with pytest.raises(ClientError) as e:
        s3.delete_bucket(Bucket=b)
    assert status(e) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=b, Key="k")
    s3.delete_bucket(Bucket=b)
    with pytest.raises(ClientError) as e:
        s3.list_objects_v2(Bucket=b)
    assert status(e) == (404, "NoSuchBucket")


@pytest.mark.parametrize("key", ["plain", "with space", "ümlaut/日本", "a+b=c&d?e#f", "..", "a/../b", "/leading", "trailing/", "%41", "a//b", "q'\"<>"])
def test_any_key(s3, b, key):
    s3.put_object(Bucket=b, Key=key, Body=key.encode(), Metadata={"Some-Name": "value"}, ContentType="text/x")
    got = s3.get_object(Bucket=b, Key=key)
    assert got["Body"].read() == key.encode()
    assert got["Metadata"] == {"some-name": "value"} and got["ContentType"] == "text/x"
    assert key in [o["Key"] for o in s3.list_objects_v2(Bucket=b, Prefix=key)["Contents"]]
    s3.delete_object(Bucket=b, Key=key)
    with pytest.raises(ClientError) as e:
        s3.get_object(Bucket=b, Key=key)
    assert status(e) == (404, "NoSuchKey")


def test_ranges_and_conditions(s3, b):
    tag = s3.put_object(Bucket=b, Key="r", Body=b"0123456789")["ETag"]
    for rng, want in (("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=5-99", b"56789")):
        assert s3.get_object(Bucket=b, Key="r", Range=rng)["Body"].read() == want
    with pytest.raises(ClientError) as e:
        s3.get_object(Bucket=b, Key="r", Range="bytes=10-12")
    assert status(e) == (416, "InvalidRange")
    with pytest.raises(ClientError) as e:
        s3.get_object(Bucket=b, Key="r", IfNoneMatch=tag)
    assert status(e)[0] == 304
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=b, Key="r", Body=b"x", IfNoneMatch="*")
    assert status(e) == (412, "PreconditionFailed")


# CRC32C and CRC64NVME need a native library that boto3 does not bring.
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums(s3, b, algorithm):
    s3.put_object(Bucket=b, Key="sum", Body=b"content", ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=b, Key="sum", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"] and got["Body"].read() == b"content"


def test_wrong_checksum_is_refused(s3, b):
    with pytest.raises(ClientError) as e:
        s3.put_object(Bucket=b, Key="wrong", Body=b"content", ChecksumSHA256="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    assert status(e)[0] == 400
    with pytest.raises(ClientError) as e:
        s3.head_object(Bucket=b, Key="wrong")
    assert status(e)[0] == 404


def test_multipart_and_copy(s3, b):
    body = bytes(range(256)) * 50_000  # 12.8 MB: two parts and a rest
    s3.upload_fileobj(io.BytesIO(body), b, "big", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
    head = s3.head_object(Bucket=b, Key="big")
    assert head["ContentLength"] == len(body) and head["ETag"].endswith('-3"')
    s3.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "big"})
    out = io.BytesIO()
    s3.download_fileobj(b, "copy", out)
    assert out.getvalue() == body
    s3.copy({"Bucket": b, "Key": "big"}, b, "copy2", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
    assert s3.head_object(Bucket=b, Key="copy2")["ContentLength"] == len(body)
    up = s3.create_multipart_upload(Bucket=b, Key="left")["UploadId"]
    s3.upload_part(Bucket=b, Key="left", UploadId=up, PartNumber=1, Body=b"x")
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=b)["Uploads"]] == ["left"]
    assert len(s3.list_parts(Bucket=b, Key="left", UploadId=up)["Parts"]) == 1
    s3.abort_multipart_upload(Bucket=b, Key="left", UploadId=up)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=b)


def test_listings(s3):
    b = name("listed")
    s3.create_bucket(Bucket=b)
    keys = [f"d{i}/f{j}" for i in range(3) for j in range(5)] + ["top"]
    for k in keys:
        s3.put_object(Bucket=b, Key=k, Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=b, PaginationConfig={"PageSize": 4})
    assert [o["Key"] for p in pages for o in p["Contents"]] == sorted(keys)
    top = s3.list_objects_v2(Bucket=b, Delimiter="/")
    assert [p["Prefix"] for p in top["CommonPrefixes"]] == ["d0/", "d1/", "d2/"] and [o["Key"] for o in top["Contents"]] == ["top"]
    pages = s3.get_paginator("list_objects").paginate(Bucket=b, Prefix="d1/", PaginationConfig={"PageSize": 2})
    assert [o["Key"] for p in pages for o in p["Contents"]] == [f"d1/f{j}" for j in range(5)]
    gone = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": k} for k in keys]})
    assert len(gone["Deleted"]) == len(keys)
    assert s3.list_objects_v2(Bucket=b)["KeyCount"] == 0


def test_presigned(b):
    s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
    url = s3.generate_presigned_url("put_object", Params={"Bucket": b, "Key": "signed"}, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT")) as r:
        assert r.status == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": b, "Key": "signed"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as r:
        assert r.read() == b"by url"
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(url.replace("signed?", "other?"))
    assert e.value.code == 403 and b"SignatureDoesNotMatch" in e.value.read()


def test_sts():
    me = boto3.client("sts").get_caller_identity()
    assert me["Account"] == "123456789012" and me["Arn"].startswith("arn:aws:iam::123456789012:")
    regional = boto3.client("sts", endpoint_url="https://sts.us-east-1.amazonaws.com")  # as the SDKs hard-wire it
    assert regional.get_caller_identity()["Account"] == me["Account"]


def test_roles_and_policies():
    iam, sts, role = boto3.client("iam"), boto3.client("sts"), name("role")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}]}
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust), Path="/service-role/")["Role"]
    assert made["Arn"] == f"arn:aws:iam::123456789012:role/service-role/{role}"
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"] == trust
    with pytest.raises(ClientError) as e:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
    assert status(e) == (409, "EntityAlreadyExists")
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}))
    c = sts.assume_role(RoleArn=made["Arn"], RoleSessionName="tester")["Credentials"]
    as_role = boto3.session.Session(c["AccessKeyId"], c["SecretAccessKey"], c["SessionToken"])
    assert as_role.client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::123456789012:assumed-role/{role}/tester"
    as_role.client("s3").list_buckets()
    with pytest.raises(ClientError) as e:
        as_role.client("sagemaker").list_training_jobs()
    assert status(e) == (400, "AccessDeniedException")
    assert "is not authorized to perform: sagemaker:ListTrainingJobs" in e.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as e:
        as_role.client("s3").create_bucket(Bucket=name("no"))
    assert status(e) == (403, "AccessDenied")
    sim = iam.simulate_principal_policy(PolicySourceArn=made["Arn"], ActionNames=["s3:ListAllMyBuckets", "sagemaker:CreateTrainingJob"])
    assert [r["EvalDecision"] for r in sim["EvaluationResults"]] == ["allowed", "implicitDeny"]
    # A role of the account that was never made acts with full access, and shows whom it trusts.
    unknown = iam.get_role(RoleName=name("missing"))["Role"]
    assert unknown["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    with pytest.raises(ClientError) as e:
        iam.get_role_policy(RoleName=role, PolicyName="missing")
    assert status(e) == (404, "NoSuchEntity")


def test_logs():
    logs, group = boto3.client("logs"), "/test/" + name("group")
    logs.create_log_group(logGroupName=group)
    with pytest.raises(ClientError) as e:
        logs.create_log_group(logGroupName=group)
    assert status(e) == (400, "ResourceAlreadyExistsException")
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = int(time.time() * 1000)
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": now + i, "message": f"m {i}"} for i in range(30)])
    got = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=10)
    assert [x["message"] for x in got["events"]] == [f"m {i}" for i in range(10)]
    got = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=got["nextForwardToken"], limit=10)
    assert got["events"][0]["message"] == "m 10"
    back = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=got["nextBackwardToken"], limit=5)
    assert [x["message"] for x in back["events"]] == [f"m {i}" for i in range(5, 10)]
    tail = logs.get_log_events(logGroupName=group, logStreamName="s", limit=3)
    assert [x["message"] for x in tail["events"]] == ["m 27", "m 28", "m 29"]
    found = [x["message"] for p in logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern='"m 7"') for x in p["events"]]
    assert found == ["m 7"]
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]
    assert stream["logStreamName"] == "s" and stream["lastEventTimestamp"] == now + 29
    with pytest.raises(ClientError) as e:
        logs.get_log_events(logGroupName=group, logStreamName="none")
    assert status(e) == (400, "ResourceNotFoundException")


def test_live_tail():
    logs, groups = boto3.client("logs"), ["/test/" + name("group") for _ in range(2)]
    for g in groups:
        logs.create_log_group(logGroupName=g)
        logs.create_log_stream(logGroupName=g, logStreamName="s")
    arns = [g["logGroupArn"] for g in logs.describe_log_groups(logGroupNamePrefix="/test/")["logGroups"] if g["logGroupName"] in groups]
    stream = logs.start_live_tail(logGroupIdentifiers=arns, logEventFilterPattern='"m 7" ?never')["responseStream"]
    events = iter(stream)
    assert next(events)["sessionStart"]["logGroupIdentifiers"] == arns
    now = int(time.time() * 1000)
    for g in groups:
        logs.put_log_events(logGroupName=g, logStreamName="s", logEvents=[{"timestamp": now + i, "message": f"m {i}"} for i in range(10)])
    found = []
    while len(found) < 2:
        update = next(events)["sessionUpdate"]
        assert update["sessionMetadata"] == {"sampled": False}
        found += [(x["logGroupIdentifier"].split(":", 1)[1], x["logStreamName"], x["message"], x["timestamp"]) for x in update["sessionResults"]]
    assert sorted(found) == sorted((g, "s", "m 7", now + 7) for g in groups)
    stream.close()
    for wrong, code in (
        ({"logGroupIdentifiers": ["/test/none"]}, "ResourceNotFoundException"),
        ({"logGroupIdentifiers": arns, "logStreamNames": ["s"]}, "InvalidParameterException"),
        ({"logGroupIdentifiers": arns * 6}, "InvalidParameterException"),
    ):
        with pytest.raises(ClientError) as e:
            logs.start_live_tail(**wrong)
        assert status(e) == (400, code)


def test_cloudwatch():
    cw, ns = boto3.client("cloudwatch"), name("Space")
    now = datetime.datetime.now(datetime.timezone.utc)
    dims = [{"Name": "Job", "Value": "x"}]
    cw.put_metric_data(Namespace=ns, MetricData=[{"MetricName": "m", "Dimensions": dims, "Timestamp": now, "Value": v} for v in (1.0, 2.0, 6.0)])
    got = cw.get_metric_statistics(Namespace=ns, MetricName="m", Dimensions=dims, Period=60, Statistics=["Average", "Sum", "Minimum", "Maximum", "SampleCount"],
                                   StartTime=now - datetime.timedelta(minutes=5), EndTime=now + datetime.timedelta(minutes=5))
    (p,) = got["Datapoints"]
    assert (p["Average"], p["Sum"], p["Minimum"], p["Maximum"], p["SampleCount"]) == (3.0, 9.0, 1.0, 6.0, 3.0)
    assert p["Timestamp"] == now.replace(second=0, microsecond=0)


@pytest.mark.parametrize("protocol", ["json", "smithy-rpc-v2-cbor", "query"])
def test_cloudwatch_in_each_protocol(protocol, monkeypatch):
    """botocore chooses one of the three that the model lists; it knows all."""
    from botocore.model import ServiceModel

    monkeypatch.setattr(ServiceModel, "resolved_protocol", property(lambda self: protocol))
    cw, ns = boto3.session.Session().client("cloudwatch"), name("Space")
    at = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0) - datetime.timedelta(minutes=5)
    dims = [{"Name": "Job", "Value": "\u00fc"}]
    # enough for the request to be compressed
    data = [{"MetricName": f"m{i:03}", "Dimensions": dims, "Timestamp": at, "Value": i + 0.5, "Unit": "Seconds"} for i in range(600)]
    cw.put_metric_data(Namespace=ns, MetricData=data)
    span = {"StartTime": at, "EndTime": at + datetime.timedelta(hours=1)}
    got = cw.get_metric_statistics(Namespace=ns, MetricName="m007", Dimensions=dims, Period=60, Statistics=["Average", "SampleCount"], **span)
    assert got["Datapoints"] == [{"Timestamp": at, "Average": 7.5, "SampleCount": 1.0, "Unit": "Seconds"}]
    stat = {"Metric": {"Namespace": ns, "MetricName": "m599", "Dimensions": dims}, "Period": 60, "Stat": "Maximum"}
    (r,) = cw.get_metric_data(MetricDataQueries=[{"Id": "q", "MetricStat": stat}], **span)["MetricDataResults"]
    assert (r["Values"], r["Timestamps"]) == ([599.5], [at])
    pages = list(cw.get_paginator("list_metrics").paginate(Namespace=ns))
    assert len(pages) == 2 and len({m["MetricName"] for p in pages for m in p["Metrics"]}) == 600
    with pytest.raises(cw.exceptions.InvalidParameterValueException) as e:
        cw.put_metric_data(Namespace="AWS/Mine", MetricData=data[:1])
    assert status(e) == (400, "InvalidParameterValue")
    with pytest.raises(cw.exceptions.InvalidParameterCombinationException):
        cw.put_metric_data(Namespace=ns, MetricData=[{**data[0], "Values": [1.0]}])


def test_measurements_of_a_training_job(sm):
    job = name()
    run(job, "for i in 4 2; do echo loss=$i; done", AlgorithmSpecification={"MetricDefinitions": [{"Name": "printed", "Regex": "loss=([0-9]+)"}]})
    arn = sm.describe_training_job(TrainingJobName=job)["TrainingJobArn"]
    metrics = boto3.client("sagemaker-metrics")
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    component = f"{job}-aws-training-job"
    for _ in range(2):  # as a client does that lost the answer
        put = metrics.batch_put_metrics(TrialComponentName=component, MetricData=[
            {"MetricName": "loss", "Timestamp": at + datetime.timedelta(seconds=i), "Step": i // 2, "Value": float(i)} for i in range(6)])
        assert put.get("Errors", []) == []

    def query(name, stat, period, axis, **more):
        return {"MetricName": name, "ResourceArn": arn, "MetricStat": stat, "Period": period, "XAxisType": axis, **more}

    got = metrics.batch_get_metrics(MetricQueries=[
        query("loss", "Avg", "IterationNumber", "IterationNumber"),
        query("loss", "Count", "IterationNumber", "IterationNumber", Start=1, End=1),
        query("loss", "Last", "OneMinute", "Timestamp"),
        query("printed", "Min", "OneHour", "Timestamp"),
        query("loss", "Avg", "OneMinute", "IterationNumber"),
    ])["MetricQueryResults"]
    assert [r["Status"] for r in got] == ["Complete"] * 4 + ["ValidationError"] and got[4]["Message"]
    assert [(r["XAxisValues"], r["MetricValues"]) for r in got[:3]] == [
        ([0, 1, 2], [0.5, 2.5, 4.5]), ([1], [2.0]), ([int(at.timestamp()) // 60 * 60], [5.0])]
    assert min(got[3]["MetricValues"]) == 2.0
    put = metrics.batch_put_metrics(TrialComponentName="nobody", MetricData=[{"MetricName": "loss", "Timestamp": at, "Value": 1.0}])
    assert put["Errors"] == [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]
    with pytest.raises(metrics.exceptions.ClientError) as e:
        metrics.batch_put_metrics(TrialComponentName="Upper", MetricData=[{"MetricName": "loss", "Timestamp": at, "Value": 1.0}])
    assert status(e) == (400, "ValidationException")
