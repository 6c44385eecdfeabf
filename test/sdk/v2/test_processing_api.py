"""boto3: processing jobs as the API has them."""

import datetime
import json
import time

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from helpers import IMAGE, PROCESSING, bucket, given, lines, made, name, objects, printed, process, processed, processing


def code(failed):
    return failed.value.response["Error"]["Code"]


def text(failed):
    return failed.value.response["Error"]["Message"]


def put(s3, **files):
    """A fresh prefix with objects."""
    prefix = name("in")
    for k, v in files.items():
        s3.put_object(Bucket=bucket(), Key=f"{prefix}/{k}", Body=v.encode())
    return f"s3://{bucket()}/{prefix}"


def test_manifest_beside_an_object(s3):
    b, _, prefix = put(s3, a="a", b="b", c="c").removeprefix("s3://").partition("/")
    s3.put_object(Bucket=b, Key=f"{prefix}.manifest", Body=json.dumps([{"prefix": f"s3://{b}/{prefix}/"}, "a", "c"]))
    out = f"s3://{b}/{name('out')}"
    d = process(
        name(), "cd /opt/ml/processing; ls input/some; cat input/one/b; touch output/empty; mkdir output/d; mv input/one/b output/d/",
        ProcessingInputs=[
            given(f"s3://{b}/{prefix}.manifest", "some", "/opt/ml/processing/input/some", S3DataType="ManifestFile"),
            given(f"s3://{b}/{prefix}/b", "one", "/opt/ml/processing/input/one"),
        ],
        ProcessingOutputConfig={"Outputs": [made(out)]},
    )
    assert d["ProcessingJobStatus"] == "Completed", d.get("FailureReason")
    assert lines(d["ProcessingJobName"], PROCESSING) == ["a", "c", "b"]
    assert objects(out) == {"empty": b"", "d/b": b"b"}


def test_nested_inputs(s3):
    """As the SDK asks for them: code below the folder of the data."""
    d = process(
        name(), "cd /opt/ml/processing/input; find . -type f | sort",
        ProcessingInputs=[given(put(s3, x="x"), "x", "/opt/ml/processing/input"), given(put(s3, y="y"), "y", "/opt/ml/processing/input/code")],
    )
    assert lines(d["ProcessingJobName"], PROCESSING) == ["./code/y", "./x"], d.get("FailureReason")


def test_continuous_output(sm, s3):
    """Files go to S3 while the program runs."""
    job, out = name(), f"s3://{bucket()}/{name('live')}"
    sm.create_processing_job(**processing(
        job, "trap 'exit 0' TERM; echo 1 > /opt/ml/processing/output/first; echo wrote; while true; do sleep 0.1; done",
        ProcessingOutputConfig={"Outputs": [made(out, mode="Continuous")]},
    ))
    printed(job, "wrote", PROCESSING)
    deadline = time.monotonic() + 90
    while "first" not in objects(out):
        assert time.monotonic() < deadline, "nothing was uploaded while the program ran"
        time.sleep(0.2)
    assert sm.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"] == "InProgress"
    sm.stop_processing_job(ProcessingJobName=job)
    assert sm.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"] in ("Stopping", "Stopped")
    assert processed(job)["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ClientError) as again:
        sm.stop_processing_job(ProcessingJobName=job)
    assert code(again) == "ValidationException"


def test_exit_code_message_and_outputs_of_a_failure(sm):
    out = f"s3://{bucket()}/{name('out')}"
    d = process(
        name(), "echo half > /opt/ml/processing/output/half; echo 'the disk is on fire' >&2; head -c 3000 /dev/zero | tr '\\0' m > /opt/ml/output/message; exit 3",
        ProcessingOutputConfig={"Outputs": [made(out)]},
    )
    assert d["ProcessingJobStatus"] == "Failed"
    assert d["FailureReason"].startswith("AlgorithmError:") and d["FailureReason"].endswith("exit code: 3"), d["FailureReason"]
    assert d["ExitMessage"] == "m" * 1024
    assert objects(out) == {"half": b"half\n"}


def test_max_runtime(sm):
    d = process(name(), "trap 'exit 0' TERM; while true; do sleep 0.1; done", StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert d["ProcessingJobStatus"] == "Stopped", d


def test_missing_input_is_a_client_error(sm):
    d = process(name(), "true", ProcessingInputs=[given(f"s3://{bucket()}/{name('absent')}")])
    assert d["ProcessingJobStatus"] == "Failed" and d["FailureReason"].startswith("ClientError:"), d["FailureReason"]
    assert "ProcessingStartTime" not in d or d["ProcessingStartTime"] <= d["ProcessingEndTime"]


def test_missing_program_is_a_client_error(sm):
    d = process(name(), "", AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["/no/such/program"]})
    assert d["ProcessingJobStatus"] == "Failed" and d["FailureReason"].startswith("ClientError:"), d["FailureReason"]
    assert "/no/such/program" in d["FailureReason"]


def test_program_sees_its_role(sm):
    d = process(name(), "python3 -c \"import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])\"")
    assert d["ProcessingJobStatus"] == "Completed", d.get("FailureReason")
    assert any(":assumed-role/SageMakerRole/" in line for line in lines(d["ProcessingJobName"], PROCESSING))


def test_lines_come_once_and_in_order(sm):
    d = process(name(), "for i in $(seq 1 3000); do echo line $i; done; printf 'no newline at the end'")
    assert lines(d["ProcessingJobName"], PROCESSING) == [f"line {i}" for i in range(1, 3001)] + ["no newline at the end"]


@pytest.fixture(scope="module")
def three(sm):
    base = name("list")
    jobs = [f"{base}-{x}" for x in ("b", "C", "a")]
    for j in jobs:
        sm.create_processing_job(**processing(j, "exit 1" if j.endswith("C") else "true"))
    for j in jobs:
        processed(j)
    return base, jobs


def names(page):
    return [j["ProcessingJobName"] for j in page["ProcessingJobSummaries"]]


def test_list_filters_and_sorts(sm, three):
    base, jobs = three
    assert names(sm.list_processing_jobs(NameContains=base.upper())) == jobs  # ascending by creation
    assert names(sm.list_processing_jobs(NameContains=base, SortOrder="Descending")) == jobs[::-1]
    assert names(sm.list_processing_jobs(NameContains=base, StatusEquals="Failed")) == [jobs[1]]
    assert names(sm.list_processing_jobs(NameContains=base, StatusEquals="InProgress")) == []
    by_name = names(sm.list_processing_jobs(NameContains=base, SortBy="Name"))
    assert by_name in (sorted(jobs), sorted(jobs, key=str.lower))
    by_status = sm.list_processing_jobs(NameContains=base, SortBy="Status")["ProcessingJobSummaries"]
    assert [j["ProcessingJobStatus"] for j in by_status] == ["Completed", "Completed", "Failed"]
    created = sm.describe_processing_job(ProcessingJobName=jobs[1])["CreationTime"]
    ms = datetime.timedelta(milliseconds=1)
    assert names(sm.list_processing_jobs(NameContains=base, CreationTimeAfter=created - ms, CreationTimeBefore=created + ms)) == [jobs[1]]
    assert names(sm.list_processing_jobs(NameContains=base, LastModifiedTimeBefore=created - 1000 * ms)) == []
    first = sm.list_processing_jobs(NameContains=base)["ProcessingJobSummaries"][0]
    assert {"ProcessingJobArn", "CreationTime", "ProcessingEndTime", "LastModifiedTime", "ProcessingJobStatus"} <= set(first)


def test_list_pages(sm, three):
    base, jobs = three
    pages = list(sm.get_paginator("list_processing_jobs").paginate(NameContains=base, PaginationConfig={"PageSize": 1}))
    assert [n for p in pages for n in names(p)] == jobs
    assert "NextToken" not in pages[-1]
    with pytest.raises(ClientError) as bad:
        sm.list_processing_jobs(NextToken="nonsense")
    assert code(bad) == "ValidationException"
    assert names(boto3.client("sagemaker", region_name="eu-west-1").list_processing_jobs(NameContains=base)) == []


def test_tags(sm, three):
    arn = sm.describe_processing_job(ProcessingJobName=three[1][0])["ProcessingJobArn"]
    assert sm.list_tags(ResourceArn=arn)["Tags"] == []
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    sm.delete_tags(ResourceArn=arn, TagKeys=["a", "missing"])
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": ""}]


def test_waiters(sm, three):
    _, jobs = three
    w = sm.get_waiter("processing_job_completed_or_stopped")
    fast = {"Delay": 1, "MaxAttempts": 60}
    w.wait(ProcessingJobName=jobs[0], WaiterConfig=fast)
    with pytest.raises(WaiterError, match="Failed"):
        w.wait(ProcessingJobName=jobs[1], WaiterConfig=fast)
    with pytest.raises(WaiterError, match="ValidationException"):
        w.wait(ProcessingJobName="no-such-job", WaiterConfig=fast)


def test_missing_job(sm):
    for act in (sm.describe_processing_job, sm.stop_processing_job, sm.delete_processing_job):
        with pytest.raises(ClientError) as missing:
            act(ProcessingJobName="no-such-job")
        assert code(missing) == "ValidationException" and text(missing).startswith("Could not find "), text(missing)
        assert text(missing).endswith(" with name: no-such-job")


def test_delete(sm):
    job = process(name(), "true")["ProcessingJobName"]
    sm.delete_processing_job(ProcessingJobName=job)
    with pytest.raises(ClientError, match="Could not find requested job with name"):
        for _ in range(200):
            sm.describe_processing_job(ProcessingJobName=job)


LOCAL = "/opt/ml/processing/input/data"


@pytest.mark.parametrize("member, value, says", [
    ("ProcessingInputs", [given("s3://b/x", S3InputMode="Pipe")], "Pipe"),
    ("ProcessingInputs", [given("s3://b/x"), given("s3://b/y", path="/opt/ml/processing/other")], "data"),
    ("ProcessingInputs", [given("s3://b/x"), given("s3://b/y", "other")], LOCAL),
    ("ProcessingInputs", [given("s3://b/x", path="/etc")], "/opt/ml/processing"),
    ("ProcessingInputs", [given("https://b/x")], "https://b/x"),
    ("ProcessingInputs", [{"InputName": "x", "DatasetDefinition": {"LocalPath": LOCAL, "AthenaDatasetDefinition": {
        "Catalog": "c", "Database": "d", "QueryString": "select 1", "OutputS3Uri": "s3://b/x", "OutputFormat": "PARQUET"}}}], "Athena"),
    ("ProcessingOutputConfig", {"Outputs": [made("s3://b/x", path="/opt/ml/processing/../../x")]}, "/opt/ml/processing"),
    ("ProcessingOutputConfig", {"Outputs": [{"OutputName": "f", "FeatureStoreOutput": {"FeatureGroupName": "g"}}]}, "FeatureStoreOutput"),
    ("ProcessingResources", {"ClusterConfig": {"InstanceCount": 1, "VolumeSizeInGB": 5}}, "InstanceType"),
])
def test_wrong_requests_are_refused(sm, member, value, says):
    job = name()
    with pytest.raises(ClientError) as no:
        sm.create_processing_job(**processing(job, "true", **{member: value}))
    assert code(no) == "ValidationException" and says.lower() in text(no).lower(), text(no)
    with pytest.raises(ClientError, match="Could not find requested job with name"):
        sm.describe_processing_job(ProcessingJobName=job)


def test_every_violation_is_named(sm):
    with pytest.raises(ClientError) as no:
        sm.create_processing_job(**processing("-bad-", "x" * 257, StoppingCondition={"MaxRuntimeInSeconds": 777601}))
    assert text(no).startswith("3 validation errors detected: "), text(no)
    assert "Value '-bad-' at 'processingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern:" in text(no)
    assert "at 'appSpecification.containerArguments' failed to satisfy constraint" in text(no)
    assert "Member must have value less than or equal to 777600" in text(no)
