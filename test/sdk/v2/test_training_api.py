"""boto3: training jobs and tags as the API has them."""

import datetime
import json

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from helpers import ROLE, archive, bucket, lines, name, request, run, secondary, wait


def code(failed):
    return failed.value.response["Error"]["Code"]


def text(failed):
    return failed.value.response["Error"]["Message"]


def test_entrypoint_arguments_and_environment(sm):
    d = run(name(), 'echo "value=$WORD job=$TRAINING_JOB_NAME"; echo "to stderr" >&2; echo hi > /opt/ml/model/x.txt',
            Environment={"WORD": "a  b"})
    assert d["TrainingJobStatus"] == "Completed", d.get("FailureReason")
    out = lines(d["TrainingJobName"])
    assert f"value=a  b job={d['TrainingJobName']}" in out and "to stderr" in out
    assert archive(d["ModelArtifacts"]["S3ModelArtifacts"]) == {"x.txt": b"hi\n"}
    assert d["Environment"] == {"WORD": "a  b"}


def test_config_files(sm):
    uri = f"s3://{bucket()}/{name('cfg')}"
    boto3.client("s3").put_object(Bucket=bucket(), Key=uri.split("/", 3)[3] + "/deep/f.txt", Body=b"x")
    d = run(name(), "cd /opt/ml/input/config; for f in hyperparameters resourceconfig inputdataconfig; do cat $f.json | tr -d '\\n'; echo; done; find /opt/ml/input/data -type f",
            HyperParameters={"a": "1", "b": "two"},
            InputDataConfig=[{"ChannelName": "stuff", "ContentType": "text/csv", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}])
    hp, resources, inputs, *files = lines(d["TrainingJobName"])
    assert json.loads(hp) == {"a": "1", "b": "two"}
    r = json.loads(resources)
    assert (r["current_host"], r["hosts"], r["network_interface_name"]) == ("algo-1", ["algo-1"], "eth0")
    assert r["current_instance_type"] == "ml.m5.large"
    i = json.loads(inputs)["stuff"]
    assert (i["ContentType"], i["TrainingInputMode"], i["S3DistributionType"]) == ("text/csv", "File", "FullyReplicated")
    assert "/opt/ml/input/data/stuff/deep/f.txt" in files


def test_missing_input_is_a_client_error(sm):
    d = run(name(), "true", InputDataConfig=[{"ChannelName": "c", "DataSource": {"S3DataSource": {
        "S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket()}/{name('absent')}"}}}])
    assert d["TrainingJobStatus"] == "Failed" and d["FailureReason"].startswith("ClientError:"), d["FailureReason"]


def test_exit_code_and_failure_file(sm):
    d = run(name(), "echo 'the disk is on fire' > /opt/ml/output/failure; exit 3")
    assert d["TrainingJobStatus"] == "Failed"
    assert "the disk is on fire" in d["FailureReason"] and d["FailureReason"].startswith("AlgorithmError:")
    assert d["FailureReason"].endswith("exit code: 3")


def test_max_runtime(sm):
    d = run(name(), "trap 'echo bye > /opt/ml/model/m; exit 0' TERM; while true; do sleep 0.1; done",
            StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert d["TrainingJobStatus"] == "Stopped" and d["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert archive(d["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": b"bye\n"}


def test_stop_before_it_runs(sm):
    job = name()
    sm.create_training_job(**request(job, "sleep 60"))
    sm.stop_training_job(TrainingJobName=job)
    assert sm.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] in ("Stopping", "Stopped")
    assert wait(job)["TrainingJobStatus"] == "Stopped"
    with pytest.raises(ClientError) as again:
        sm.stop_training_job(TrainingJobName=job)
    assert code(again) == "ValidationException"


def test_program_sees_its_role(sm):
    d = run(name(), "python3 -c \"import boto3; print(boto3.client('sts').get_caller_identity()['Arn']); "
                    "print(len(boto3.client('s3').list_buckets()['Buckets']) > 0)\"")
    assert d["TrainingJobStatus"] == "Completed", d.get("FailureReason")
    out = lines(d["TrainingJobName"])
    assert any(":assumed-role/SageMakerRole/" in line for line in out), out
    assert "True" in out


def test_isolated_program_sees_nothing(sm):
    probe = ("import urllib.request, os\n"
             "for u in (os.environ.get('AWS_ENDPOINT_URL', 'http://127.0.0.1:2527'), 'http://169.254.170.2/', 'https://pypi.org/simple/'):\n"
             "    try: urllib.request.urlopen(u, timeout=3); print('reached', u)\n"
             "    except urllib.error.HTTPError as e: print('reached', u, e.code)\n"
             "    except Exception as e: print('refused')\n")
    d = run(name(), 'python3 -c "$PROBE"', Environment={"PROBE": probe}, EnableNetworkIsolation=True)
    assert d["TrainingJobStatus"] == "Completed", d.get("FailureReason")
    assert lines(d["TrainingJobName"]) == ["refused"] * 3


@pytest.mark.parametrize("member, value", [
    ("ResourceConfig", {"InstanceGroups": [{"InstanceGroupName": "g", "InstanceType": "ml.m5.large", "InstanceCount": 1}], "VolumeSizeInGB": 5}),
    ("AlgorithmSpecification", {"TrainingInputMode": "Pipe"}),
])
def test_what_is_not_honoured_is_refused(sm, member, value):
    job = name()
    with pytest.raises(ClientError, match="Clary does not support") as no:
        sm.create_training_job(**request(job, "true", **{member: value}))
    assert code(no) == "ValidationException"
    with pytest.raises(ClientError, match="Requested resource not found"):
        sm.describe_training_job(TrainingJobName=job)


def test_checkpoints(s3):
    b, prefix = bucket(), name("checkpoints")
    s3.put_object(Bucket=b, Key=f"{prefix}/1.txt", Body=b"one")
    d = run(name(), "cat /opt/ml/checkpoints/1.txt; echo; echo two > /opt/ml/checkpoints/2.txt",
            CheckpointConfig={"S3Uri": f"s3://{b}/{prefix}"})
    assert d["TrainingJobStatus"] == "Completed", d.get("FailureReason")
    assert "one" in lines(d["TrainingJobName"])
    assert s3.get_object(Bucket=b, Key=f"{prefix}/2.txt")["Body"].read() == b"two\n"


def test_manifest(s3):
    b, prefix = bucket(), name("manifest")
    for k in ("a", "b", "c"):
        s3.put_object(Bucket=b, Key=f"{prefix}/{k}.txt", Body=k.encode())
    s3.put_object(Bucket=b, Key=f"{prefix}.manifest", Body=json.dumps([{"prefix": f"s3://{b}/{prefix}/"}, "a.txt", "c.txt"]))
    d = run(name(), "ls /opt/ml/input/data/m", InputDataConfig=[{"ChannelName": "m", "DataSource": {"S3DataSource": {
        "S3DataType": "ManifestFile", "S3Uri": f"s3://{b}/{prefix}.manifest"}}}])
    assert lines(d["TrainingJobName"]) == ["a.txt", "c.txt"]


def test_lines_come_once_and_in_order(sm):
    d = run(name(), "for i in $(seq 1 3000); do echo line $i; done; printf 'no newline at the end'")
    assert lines(d["TrainingJobName"]) == [f"line {i}" for i in range(1, 3001)] + ["no newline at the end"]


def test_uncompressed_output(s3):
    b = bucket()
    d = run(name(), "mkdir /opt/ml/model/d; echo 1 > /opt/ml/model/d/f",
            OutputDataConfig={"S3OutputPath": f"s3://{b}/raw", "CompressionType": "NONE"})
    assert d["TrainingJobStatus"] == "Completed", d.get("FailureReason")
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=b, Prefix=f"raw/{d['TrainingJobName']}/")["Contents"]]
    assert any(k.endswith("/model/d/f") for k in keys), keys


def test_delete(sm):
    d = run(name(), "true")
    sm.delete_training_job(TrainingJobName=d["TrainingJobName"])
    with pytest.raises(ClientError) as gone:
        for _ in range(200):
            sm.describe_training_job(TrainingJobName=d["TrainingJobName"])
    assert code(gone) == "ValidationException" and text(gone) == "Requested resource not found."


@pytest.fixture(scope="module")
def three(sm):
    base = name("list")
    jobs = [f"{base}-{x}" for x in ("b", "C", "a")]
    for j in jobs:
        sm.create_training_job(**request(j, "exit 1" if j.endswith("C") else "true"))
    for j in jobs:
        wait(j)
    return base, jobs


def names(page):
    return [j["TrainingJobName"] for j in page["TrainingJobSummaries"]]


def test_list_filters_and_sorts(sm, three):
    base, jobs = three
    assert names(sm.list_training_jobs(NameContains=base.upper())) == jobs  # ascending by creation
    assert names(sm.list_training_jobs(NameContains=base, SortOrder="Descending")) == jobs[::-1]
    assert names(sm.list_training_jobs(NameContains=base, StatusEquals="Failed")) == [jobs[1]]
    by_name = names(sm.list_training_jobs(NameContains=base, SortBy="Name"))
    assert sorted(jobs) == by_name or sorted(jobs, key=str.lower) == by_name
    by_status = sm.list_training_jobs(NameContains=base, SortBy="Status")["TrainingJobSummaries"]
    assert [j["TrainingJobStatus"] for j in by_status] == ["Completed", "Completed", "Failed"]
    created = sm.describe_training_job(TrainingJobName=jobs[1])["CreationTime"]
    ms = datetime.timedelta(milliseconds=1)
    assert names(sm.list_training_jobs(NameContains=base, CreationTimeAfter=created - ms, CreationTimeBefore=created + ms)) == [jobs[1]]
    assert names(sm.list_training_jobs(NameContains=base, LastModifiedTimeBefore=created - 1000 * ms)) == []
    first = sm.list_training_jobs(NameContains=base)["TrainingJobSummaries"][0]
    assert {"TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime", "TrainingJobStatus"} <= set(first)


def test_list_pages(sm, three):
    base, jobs = three
    pages = list(sm.get_paginator("list_training_jobs").paginate(NameContains=base, PaginationConfig={"PageSize": 1}))
    assert [n for p in pages for n in names(p)] == jobs
    assert "NextToken" not in pages[-1]
    with pytest.raises(ClientError) as bad:
        sm.list_training_jobs(NextToken="nonsense")
    assert code(bad) == "ValidationException"


def test_tags(sm, three):
    arn = sm.describe_training_job(TrainingJobName=three[1][0])["TrainingJobArn"]
    assert sm.list_tags(ResourceArn=arn)["Tags"] == []
    assert sm.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])["Tags"]
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}])
    assert {t["Key"]: t["Value"] for t in sm.list_tags(ResourceArn=arn)["Tags"]} == {"a": "2", "b": ""}
    sm.delete_tags(ResourceArn=arn, TagKeys=["a", "missing"])
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": ""}]


def test_waiters(sm, three):
    base, jobs = three
    w = sm.get_waiter("training_job_completed_or_stopped")
    fast = {"Delay": 1, "MaxAttempts": 60}
    w.wait(TrainingJobName=jobs[0], WaiterConfig=fast)
    with pytest.raises(WaiterError, match="Failed"):
        w.wait(TrainingJobName=jobs[1], WaiterConfig=fast)
    with pytest.raises(WaiterError, match="ValidationException"):
        w.wait(TrainingJobName="no-such-job", WaiterConfig=fast)


def test_duplicate_name(sm, three):
    with pytest.raises(ClientError) as again:
        sm.create_training_job(**request(three[1][0], "true"))
    assert code(again) == "ResourceInUse"
    assert "names must be unique within an AWS account and region" in text(again) and "already exists" in text(again)


def raw(body, target="SageMaker.CreateTrainingJob"):
    """A signed request that botocore's own checks would not let through."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    s = boto3.session.Session()
    url = boto3.client("sagemaker").meta.endpoint_url
    r = AWSRequest("POST", url, data=body if isinstance(body, bytes) else json.dumps(body).encode(),
                   headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"})
    SigV4Auth(s.get_credentials(), "sagemaker", s.region_name).add_auth(r)
    answer = URLLib3Session().send(r.prepare())
    return answer.status_code, json.loads(answer.content)


def test_every_violation_is_named(sm):
    bad = request("-bad-", "true", RoleArn="x", ResourceConfig={"InstanceType": "ml.huge", "InstanceCount": 1, "VolumeSizeInGB": 5},
                  StoppingCondition={"MaxRuntimeInSeconds": 0})
    status, body = raw(bad)
    assert status == 400 and body["__type"].endswith("ValidationException")
    m = body["message"]
    assert m.startswith("5 validation errors detected: "), m
    assert "Value '-bad-' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern:" in m
    assert "Value 'x' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20" in m
    assert "Value 'ml.huge' at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum value set: [" in m
    assert "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 1" in m


def test_required_members(sm):
    status, body = raw({"TrainingJobName": "x"})
    assert status == 400
    for member in ("roleArn", "outputDataConfig"):
        assert f"Value null at '{member}' failed to satisfy constraint: Member must not be null" in body["message"]


def test_broken_requests():
    assert raw(b"{not json")[0] == 400
    assert raw(b"{not json")[1]["__type"].endswith("SerializationException")
    status, body = raw({}, "SageMaker.NoSuchThing")
    assert status == 400 and body["__type"].endswith("UnknownOperationException")


def test_unsupported_operation_says_so(sm):
    with pytest.raises(ClientError) as no:
        sm.create_experiment(ExperimentName="m")
    assert code(no) == "UnsupportedOperation"


def test_unknown_image(sm):
    job = name()
    try:
        d = run(job, "true", AlgorithmSpecification={"TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"})
    except ClientError as e:
        assert e.response["Error"]["Code"] == "ValidationException"
        reason = e.response["Error"]["Message"]
    else:
        assert d["TrainingJobStatus"] == "Failed"
        reason = d["FailureReason"]
    assert "sagemaker-scikit-learn" in reason


def test_wrong_credentials():
    wrong = boto3.client("sagemaker", aws_secret_access_key="wrong", aws_access_key_id=boto3.session.Session().get_credentials().access_key)
    with pytest.raises(ClientError) as e:
        wrong.list_training_jobs()
    assert code(e) == "InvalidSignatureException"
    unknown = boto3.client("sagemaker", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x")
    with pytest.raises(ClientError) as e:
        unknown.list_training_jobs()
    assert code(e) == "UnrecognizedClientException"


def test_role_is_checked():
    """A job's role that may not read its data fails the job, as on AWS."""
    iam, role = boto3.client("iam"), name("narrow")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    b, key = bucket(), name("secret")
    boto3.client("s3").put_object(Bucket=b, Key=key, Body=b"x")
    d = run(name(), "true", RoleArn=arn, InputDataConfig=[{"ChannelName": "c", "DataSource": {"S3DataSource": {
        "S3DataType": "S3Prefix", "S3Uri": f"s3://{b}/{key}"}}}])
    assert d["TrainingJobStatus"] == "Failed" and d["FailureReason"].startswith("ClientError:")
    assert "denied" in d["FailureReason"].lower() or "not authorized" in d["FailureReason"], d["FailureReason"]
    assert secondary(d)[-1] == "Failed"


def test_regions_are_apart(three):
    other = boto3.client("sagemaker", region_name="eu-west-1")
    assert names(other.list_training_jobs(NameContains=three[0])) == []
