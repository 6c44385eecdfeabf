"""boto3: transform jobs as the API has them."""

import datetime
import json
import time

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from helpers import (
    PLAIN, ROLE, TRANSFORM, bucket, container, lines, model, name, objects, stored, transform, transformed, transforming)

ROWS = "1,2,3\n4,5,6\n7,8,9\n"
SOON = {"Delay": 1, "MaxAttempts": 120}


def refused(call, **request):
    with pytest.raises(ClientError) as e:
        call(**request)
    r = e.value.response
    assert r["ResponseMetadata"]["HTTPStatusCode"] == 400
    return r["Error"]["Code"], r["Error"]["Message"]


@pytest.fixture(scope="module")
def sums():
    """The name of a model that adds up."""
    return model("sums.py")


def running(job, within=120):
    """Waits until the job's model is asked."""
    deadline = time.monotonic() + within
    while not any(line.startswith("rows ") for line in lines(job, TRANSFORM)):
        status = boto3.client("sagemaker").describe_transform_job(TransformJobName=job)["TransformJobStatus"]
        assert status == "InProgress" and time.monotonic() < deadline, f"{job} is {status}, and its model was never asked"
        time.sleep(0.2)


def test_describe(sm, sums):
    """What was asked for is told, and AWS's defaults beside it."""
    d, out = transform(sums, stored({"a.csv": ROWS}), Tags=[{"Key": "team", "Value": "a b"}], Environment={"TIMES": "10"})
    assert d["TransformJobStatus"] == "Completed", d
    assert out == {"a.csv.out": b"60\n150\n240\n"}
    job = d["TransformJobName"]
    assert d["TransformJobArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:transform-job/{job}"
    assert d["CreationTime"] <= d["TransformStartTime"] <= d["TransformEndTime"]
    assert d["ModelName"] == sums and d["Environment"] == {"TIMES": "10"} and "FailureReason" not in d
    assert d["TransformInput"] | {"DataSource": 0} == {"DataSource": 0, "ContentType": "text/csv", "SplitType": "Line", "CompressionType": "None"}
    assert d["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] == "S3Prefix"
    assert d["TransformOutput"] | {"S3OutputPath": 0} == {"S3OutputPath": 0, "Accept": "text/csv", "AssembleWith": "Line", "KmsKeyId": ""}
    assert d["TransformResources"] == {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    assert d["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert sm.list_tags(ResourceArn=d["TransformJobArn"])["Tags"] == [{"Key": "team", "Value": "a b"}]
    said = lines(job, TRANSFORM)
    assert "batch true" in said and "rows 3" in said, said


def test_folder(sums):
    """Each object below the prefix has its answer below the output, whatever
    their names. A slash at the end of either changes nothing."""
    data = stored({"a.csv": "1\n", "deep/er/b.csv": "2\n", "deep/ü x.csv": "3\n", "empty.csv": "", "no-end": "4"})
    d, out = transform(sums, data + "/")
    assert d["TransformJobStatus"] == "Completed", (d, lines(d["TransformJobName"], TRANSFORM))
    assert out == {"a.csv.out": b"1\n", "deep/er/b.csv.out": b"2\n", "deep/ü x.csv.out": b"3\n", "empty.csv.out": b"", "no-end.out": b"4\n"}
    d, out = transform(sums, data + "/deep/er/b.csv")
    assert (d["TransformJobStatus"], out) == ("Completed", {"b.csv.out": b"2\n"})


def test_batches(sums):
    """How many rows are in a request, and that answers stand in the order of
    the rows, however many are asked at once."""
    rows = "".join(f"{i},{i},sleep{0.3 if i % 4 == 0 else 0}\n" for i in range(12))
    began = time.monotonic()
    d, out = transform(
        model("sums.py", SAGEMAKER_MODEL_SERVER_WORKERS="4"), stored({"a.csv": rows}), BatchStrategy="SingleRecord", MaxConcurrentTransforms=4, MaxPayloadInMB=1)
    assert d["TransformJobStatus"] == "Completed", d
    assert out["a.csv.out"].decode().split() == [str(2 * i) for i in range(12)]
    assert (d["BatchStrategy"], d["MaxConcurrentTransforms"], d["MaxPayloadInMB"]) == ("SingleRecord", 4, 1)
    said = lines(d["TransformJobName"], TRANSFORM)
    assert said.count("rows 1") == 12, said
    assert any(x.endswith(":[sagemaker logs]: MaxConcurrentTransforms=4, MaxPayloadInMB=1, BatchStrategy=SINGLE_RECORD") for x in said), said
    assert time.monotonic() - began < 60

    rows = f"{'0' * 99}1\n" * 30_000  # 3 MB
    d, out = transform(sums, stored({"a.csv": rows}), MaxPayloadInMB=1)
    assert out == {"a.csv.out": b"1\n" * 30_000}, d
    sizes = [int(x.removeprefix("rows ")) for x in lines(d["TransformJobName"], TRANSFORM) if x.startswith("rows ")]
    assert sum(sizes) == 30_000 and len(sizes) == 3 and max(sizes) <= (1 << 20) // 101, sizes


def test_execution_parameters(sums):
    """The container's own say, where the request has none."""
    told = '{"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 3}'
    m = model("sums.py", PARAMETERS=told)
    d, out = transform(m, stored({"a.csv": ROWS}))
    said = lines(d["TransformJobName"], TRANSFORM)
    assert out == {"a.csv.out": b"6\n15\n24\n"} and said.count("rows 1") == 3, (d, said)
    assert any("MaxConcurrentTransforms=2, MaxPayloadInMB=3, BatchStrategy=SINGLE_RECORD" in x for x in said), said
    d, out = transform(m, stored({"a.csv": ROWS}), BatchStrategy="MultiRecord")
    said = lines(d["TransformJobName"], TRANSFORM)
    assert "rows 3" in said and any("MaxPayloadInMB=3, BatchStrategy=MULTI_RECORD" in x for x in said), said


def test_csv_joined_to_its_source(sums):
    """An identifier that the model does not see, and a quoted comma."""
    rows = 'x,"a, ""b""",1,2\ny,c,3,4\n'
    processing = {"InputFilter": "$[2:]", "JoinSource": "Input"}
    d, out = transform(sums, stored({"a.csv": rows}), DataProcessing=processing)
    assert out == {"a.csv.out": b'x,"a, ""b""",1,2,3\ny,c,3,4,7\n'}, (d, lines(d["TransformJobName"], TRANSFORM))
    assert d["DataProcessing"] == processing | {"OutputFilter": "$"}
    d, out = transform(sums, stored({"a.csv": rows}), DataProcessing=processing | {"OutputFilter": "$[0,-1]"})
    assert out == {"a.csv.out": b"x,3\ny,7\n"}, d


def jsonlines(**more):
    return {"TransformInput": {"ContentType": "application/jsonlines"}, "TransformOutput": {"Accept": "application/jsonlines"}, **more}


def test_json_joined_to_its_source(sums):
    rows = [{"id": "a", "x": [1, 2], "n": None}, {"id": "ü", "x": [3, 4], "n": 1.0}]
    data = stored({"a.jsonl": "".join(json.dumps(r) + "\n" for r in rows)})
    d, out = transform(sums, data, **jsonlines(DataProcessing={"InputFilter": "$.x", "JoinSource": "Input"}))
    got = [json.loads(x) for x in out.get("a.jsonl.out", b"").splitlines()]
    assert got == [r | {"SageMakerOutput": {"sum": sum(r["x"]), "of": 2}} for r in rows], (d, lines(d["TransformJobName"], TRANSFORM))
    d, out = transform(sums, data, **jsonlines(DataProcessing={
        "InputFilter": "$.x", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}))
    got = [json.loads(x) for x in out["a.jsonl.out"].splitlines()]
    assert got == [{"id": r["id"], "SageMakerOutput": {"sum": sum(r["x"]), "of": 2}} for r in rows], d
    # What is no object becomes a member of one.
    d, out = transform(sums, stored({"a.jsonl": "[1, 2]\n"}), **jsonlines(DataProcessing={"JoinSource": "Input"}))
    assert json.loads(out["a.jsonl.out"]) == {"SageMakerInput": [1, 2], "SageMakerOutput": {"sum": 3, "of": 1}}, d
    d, out = transform(sums, stored({"a.jsonl": "[1, 2]\n[3, 4]\n"}), **jsonlines(DataProcessing={"OutputFilter": "$.sum"}))
    assert out == {"a.jsonl.out": b"3.0\n7.0\n"}, d


def test_several_instances(sums):
    """Each object is asked of one of them."""
    data = stored({f"{i}.csv": f"{i}\n" for i in range(5)})
    d, out = transform(sums, data, InstanceCount=2)
    assert d["TransformJobStatus"] == "Completed", d
    assert out == {f"{i}.csv.out": f"{i}\n".encode() for i in range(5)}
    job = d["TransformJobName"]
    logs = boto3.client("logs")
    streams = [s["logStreamName"] for s in logs.describe_log_streams(logGroupName=TRANSFORM, logStreamNamePrefix=job + "/")["logStreams"]]
    assert [s.split("/")[1].rsplit("-", 1)[0] for s in streams] == ["algo-1", "algo-1", "algo-2", "algo-2"], streams
    assert [s.split("/")[2:] for s in streams] == [[], ["data-log"], [], ["data-log"]], streams
    asked = [sum(e["message"].startswith("rows ") for e in logs.get_log_events(logGroupName=TRANSFORM, logStreamName=s)["events"]) for s in streams]
    assert (sorted(asked[::2]), asked[1::2]) == ([2, 3], [0, 0]), asked


def test_output_below_the_input(sm, sums):
    """What the job itself stores is no input of it, whoever begins later."""
    data, job = stored({f"{i}.csv": f"{i}\n" for i in range(6)}), name("transform")
    sm.create_transform_job(**transforming(job, sums, data, data + "/scored", InstanceCount=2, BatchStrategy="SingleRecord"))
    d = transformed(job)
    assert d["TransformJobStatus"] == "Completed", (d, lines(job, TRANSFORM))
    assert objects(data + "/scored") == {f"{i}.csv.out": f"{i}\n".encode() for i in range(6)}


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def tfrecord(data):
    size = len(data).to_bytes(8, "little")
    return size + crc32c(size) + data + crc32c(data)


def recordio(data):
    return (0xCED7230A).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data + b"\0" * (-len(data) % 4)


@pytest.mark.parametrize("split, frame", [("RecordIO", recordio), ("TFRecord", tfrecord)])
def test_binary_records(sums, split, frame):
    """One in a request is asked bare, many as they stand. The model turns
    around what it gets."""
    records = [b"one", b"second\n\r", bytes(range(256))]
    data = stored({"a": b"".join(map(frame, records))})
    binary = {"ContentType": "application/octet-stream", "SplitType": split}
    d, out = transform(sums, data, BatchStrategy="SingleRecord", TransformInput=binary, TransformOutput={"Accept": "application/octet-stream", "AssembleWith": "None"})
    assert out == {"a.out": b"".join(r[::-1] for r in records)}, (d, lines(d["TransformJobName"], TRANSFORM))
    d, out = transform(sums, data, BatchStrategy="MultiRecord", TransformInput=binary, TransformOutput={"Accept": "application/octet-stream", "AssembleWith": "None"})
    assert out == {"a.out": b"".join(map(frame, records))[::-1]}, d
    cut = stored({"a": b"".join(map(frame, records))[:-30]})
    d, out = transform(sums, cut, BatchStrategy="SingleRecord", TransformInput=binary)
    assert (d["TransformJobStatus"], out) == ("Failed", {}) and d["FailureReason"].startswith("ClientError"), d


def test_whole_objects_gzip_and_manifest(sums):
    import gzip

    whole = {"ContentType": "application/octet-stream", "SplitType": "None"}
    body = bytes(range(256)) * 4096  # 1 MiB
    d, out = transform(sums, stored({"a": body, "b/c": b"xy"}), TransformInput=whole, TransformOutput={"AssembleWith": "None"}, MaxPayloadInMB=2)
    assert out == {"a.out": body[::-1], "b/c.out": b"yx"}, d
    d, out = transform(sums, stored({"a.csv.gz": gzip.compress(ROWS.encode())}), TransformInput={"CompressionType": "Gzip"})
    assert out == {"a.csv.gz.out": b"6\n15\n24\n"}, (d, lines(d["TransformJobName"], TRANSFORM))
    data = stored({"a.csv": "1\n", "b.csv": "2\n", "c/d.csv": "3\n"})
    listed = stored({"manifest": json.dumps([{"prefix": data + "/"}, "a.csv", "c/d.csv"])}) + "/manifest"
    d, out = transform(sums, listed, TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": listed}}})
    assert out == {"a.csv.out": b"1\n", "c/d.csv.out": b"3\n"}, d


@pytest.mark.parametrize("word, class_, says", [
    ("refuse", "ClientError", ["ClientError: 400", "Message:", "no such flower"]),
    ("wrong", "AlgorithmError", ["Bad HTTP status received from algorithm: 500", "Message:", "could not convert string to float"]),
    ("die", "AlgorithmError", ["Bad HTTP status received from algorithm: 502", "it is started again"]),
])
def test_a_record_that_fails(sums, word, class_, says):
    """The reason is of the class that AWS gives it, the log names the object
    and what the model said, and of that object there is no output. What was
    finished before stays."""
    data = stored({"a.csv": ROWS, "b.csv": ROWS + word + "\n" + ROWS})
    d, out = transform(sums, data, BatchStrategy="SingleRecord", ModelClientConfig={"InvocationsMaxRetries": 0})
    said = lines(d["TransformJobName"], TRANSFORM)
    assert d["TransformJobStatus"] == "Failed" and d["FailureReason"].startswith(class_ + ": See job logs for more information"), d
    assert out == {"a.csv.out": b"6\n15\n24\n"}
    key = data.removeprefix("s3://") + "/b.csv"
    of_it = [x for x in said if f":[sagemaker logs]: {key}: " in x]
    for text in says:
        assert any(text in x for x in of_it), said
    assert d["TransformStartTime"] <= d["TransformEndTime"]


def test_retries_and_timeouts(sums):
    data = stored({"a.csv": "1\nonce\n"})
    d, out = transform(sums, data, ModelClientConfig={"InvocationsMaxRetries": 1, "InvocationsTimeoutInSeconds": 60})
    assert (d["TransformJobStatus"], out) == ("Completed", {"a.csv.out": b"1\n0\n"}), (d, lines(d["TransformJobName"], TRANSFORM))
    assert d["ModelClientConfig"] == {"InvocationsMaxRetries": 1, "InvocationsTimeoutInSeconds": 60}
    d, out = transform(sums, stored({"a.csv": "sleep30\n"}), ModelClientConfig={"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 1})
    assert (d["TransformJobStatus"], out) == ("Failed", {}), d
    assert (d["TransformEndTime"] - d["TransformStartTime"]).total_seconds() < 25


def test_a_record_that_is_too_large(sums):
    d, out = transform(sums, stored({"a.csv": "1\n" + "1" * (2 << 20) + "\n"}), MaxPayloadInMB=1)
    said = lines(d["TransformJobName"], TRANSFORM)
    assert (d["TransformJobStatus"], out) == ("Failed", {}) and d["FailureReason"].startswith("ClientError: "), d
    assert any("Too much data for max payload size" in x for x in said), said


def test_no_input_and_no_model(sm, s3, sums):
    d, out = transform(sums, f"s3://{bucket()}/{name('absent')}")
    assert (d["TransformJobStatus"], out) == ("Failed", {}) and d["FailureReason"].startswith("ClientError: "), d
    d, out = transform(model("sums.py", BROKEN="of another model"), stored({"a.csv": ROWS}))
    assert (d["TransformJobStatus"], out) == ("Failed", {}) and d["FailureReason"].startswith("AlgorithmError: "), d
    assert "RuntimeError: the model's weights are of another model" in d["FailureReason"], d["FailureReason"]
    assert "Traceback (most recent call last):" in lines(d["TransformJobName"], TRANSFORM)
    m = name("model")
    absent = f"s3://{bucket()}/{name('absent')}/model.tar.gz"
    sm.create_model(ModelName=m, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PLAIN, "ModelDataUrl": absent})
    d, _ = transform(m, stored({"a.csv": ROWS}))
    assert d["TransformJobStatus"] == "Failed" and d["FailureReason"].startswith("ClientError: ") and absent in d["FailureReason"], d


def test_stop(sm, sums):
    """What was finished before stays; of the object that is read meanwhile
    there is nothing."""
    job, out = name("transform"), f"s3://{bucket()}/{name('out')}"
    data = stored({"a.csv": "1\n", "b.csv": "2\n" * 10 + "sleep100\n"})
    sm.create_transform_job(**transforming(job, sums, data, out, BatchStrategy="SingleRecord"))
    running(job)
    deadline = time.monotonic() + 60
    while lines(job, TRANSFORM).count("rows 1") < 12:
        assert time.monotonic() < deadline, lines(job, TRANSFORM)
        time.sleep(0.2)
    sm.stop_transform_job(TransformJobName=job)
    assert sm.describe_transform_job(TransformJobName=job)["TransformJobStatus"] in ("Stopping", "Stopped")
    began = time.monotonic()
    d = transformed(job)
    assert d["TransformJobStatus"] == "Stopped" and "FailureReason" not in d and time.monotonic() - began < 60
    assert objects(out) == {"a.csv.out": b"1\n"}
    assert refused(sm.stop_transform_job, TransformJobName=job)[0] == "ValidationException"


def test_model_deleted_meanwhile(sm):
    """The job has what it was created with."""
    m, job, out = model("sums.py"), name("transform"), f"s3://{bucket()}/{name('out')}"
    sm.create_transform_job(**transforming(job, m, stored({"a.csv": ROWS}), out))
    sm.delete_model(ModelName=m)
    assert transformed(job)["TransformJobStatus"] == "Completed"
    assert objects(out) == {"a.csv.out": b"6\n15\n24\n"}


def test_capture(sums):
    """Where what was read and written is, by the hour; and a name for each
    answer."""
    data, kept = stored({"a.csv": ROWS, "b/c.csv": "1\n"}), f"s3://{bucket()}/{name('kept')}"
    d, out = transform(sums, data, DataCaptureConfig={"DestinationS3Uri": kept, "GenerateInferenceId": True})
    assert d["TransformJobStatus"] == "Completed", (d, lines(d["TransformJobName"], TRANSFORM))
    assert d["DataCaptureConfig"]["DestinationS3Uri"] == kept and d["DataCaptureConfig"]["GenerateInferenceId"] is True
    rows = [x.split(",") for x in out["a.csv.out"].decode().splitlines()]
    assert [r[0] for r in rows] == ["6", "15", "24"] and len({r[1] for r in rows}) == 3, rows
    assert all(len(r) == 3 and len(r[1]) == 36 and datetime.datetime.fromisoformat(r[2]) for r in rows), rows
    found = {"input": set(), "output": set()}
    for key, body in objects(kept).items():
        half, *when = key.split("/")
        datetime.datetime(*map(int, when[:4]))
        (first, *rest) = json.loads(body)
        found[half] |= {first["prefix"] + r for r in rest}
    assert found["input"] == {data + "/a.csv", data + "/b/c.csv"}, objects(kept)
    assert found["output"] == {d["TransformOutput"]["S3OutputPath"] + x for x in ("/a.csv.out", "/b/c.csv.out")}, objects(kept)


def test_pipeline(sm):
    """Two containers: what the first answers is asked of the second."""
    m = name("model")
    sm.create_model(ModelName=m, ExecutionRoleArn=ROLE, Containers=[container("inches.py"), container("sums.py", TIMES="100")])
    d, out = transform(m, stored({"a.csv": "1,2\n3,4\n"}))
    assert out == {"a.csv.out": b"762\n1778\n"}, (d, lines(d["TransformJobName"], TRANSFORM))
    d, out = transform(m, stored({"a.csv": "1,2\n3,four\n"}))
    assert (d["TransformJobStatus"], out) == ("Failed", {}), d


@pytest.fixture(scope="module")
def three(sm, sums):
    base = name("list")
    jobs = [f"{base}-{x}" for x in ("b", "C", "a")]
    good, bad = stored({"a.csv": "1\n"}), stored({"a.csv": "refuse\n"})
    for j in jobs:
        sm.create_transform_job(**transforming(j, sums, bad if j.endswith("C") else good, f"s3://{bucket()}/{j}"))
    for j in jobs:
        transformed(j)
    return base, jobs


def names(page):
    return [j["TransformJobName"] for j in page["TransformJobSummaries"]]


def test_list_filters_and_sorts(sm, three):
    base, jobs = three
    assert names(sm.list_transform_jobs(NameContains=base.upper())) == jobs[::-1]  # descending by creation
    assert names(sm.list_transform_jobs(NameContains=base, SortOrder="Ascending")) == jobs
    assert names(sm.list_transform_jobs(NameContains=base, StatusEquals="Failed")) == [jobs[1]]
    assert names(sm.list_transform_jobs(NameContains=base, StatusEquals="InProgress")) == []
    by_name = names(sm.list_transform_jobs(NameContains=base, SortBy="Name", SortOrder="Ascending"))
    assert by_name in (sorted(jobs), sorted(jobs, key=str.lower))
    by_status = sm.list_transform_jobs(NameContains=base, SortBy="Status", SortOrder="Ascending")["TransformJobSummaries"]
    assert [j["TransformJobStatus"] for j in by_status] == ["Completed", "Completed", "Failed"]
    created = sm.describe_transform_job(TransformJobName=jobs[1])["CreationTime"]
    ms = datetime.timedelta(milliseconds=1)
    assert names(sm.list_transform_jobs(NameContains=base, CreationTimeAfter=created - ms, CreationTimeBefore=created + ms)) == [jobs[1]]
    assert names(sm.list_transform_jobs(NameContains=base, LastModifiedTimeBefore=created - 1000 * ms)) == []
    (failed,) = sm.list_transform_jobs(NameContains=base, StatusEquals="Failed")["TransformJobSummaries"]
    assert {"TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime", "FailureReason"} <= set(failed)


def test_list_pages(sm, three):
    base, jobs = three
    pages = list(sm.get_paginator("list_transform_jobs").paginate(NameContains=base, PaginationConfig={"PageSize": 1}))
    assert [n for p in pages for n in names(p)] == jobs[::-1]
    assert "NextToken" not in pages[-1]
    assert refused(sm.list_transform_jobs, NextToken="nonsense")[0] == "ValidationException"
    assert names(boto3.client("sagemaker", region_name="eu-west-1").list_transform_jobs(NameContains=base)) == []


def test_tags(sm, three):
    arn = sm.describe_transform_job(TransformJobName=three[1][0])["TransformJobArn"]
    assert sm.list_tags(ResourceArn=arn)["Tags"] == []
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    sm.delete_tags(ResourceArn=arn, TagKeys=["a", "missing"])
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": ""}]


def test_waiter(sm, three):
    _, jobs = three
    w = sm.get_waiter("transform_job_completed_or_stopped")
    w.wait(TransformJobName=jobs[0], WaiterConfig=SOON)
    with pytest.raises(WaiterError, match="Failed"):
        w.wait(TransformJobName=jobs[1], WaiterConfig=SOON)
    with pytest.raises(WaiterError, match="ValidationException"):
        w.wait(TransformJobName="no-such-job", WaiterConfig=SOON)


def test_wrong_names(sm, sums, three):
    for act in (sm.describe_transform_job, sm.stop_transform_job):
        code, text = refused(act, TransformJobName="no-such-job")
        assert code == "ValidationException" and "not f" in text.lower(), text
    data, out = stored({"a.csv": ROWS}), f"s3://{bucket()}/out"
    code, text = refused(sm.create_transform_job, **transforming(three[1][0], sums, data, out))
    assert code == "ResourceInUse" and "already exists" in text, (code, text)
    no = name("no")
    code, text = refused(sm.create_transform_job, **transforming(name(), no, data, out))
    assert (code, text) == ("ValidationException", f'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/{no}".')


def source(**more):
    return {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x", **more}}}


@pytest.mark.parametrize("member, value, says", [
    ("TransformInput", source(S3DataType="AugmentedManifestFile"), "AugmentedManifestFile"),
    ("TransformInput", source(S3DataType="Converse"), "Converse"),
    ("TransformInput", source(S3Uri="https://b/x"), "https://b/x"),
    ("TransformOutput", {"S3OutputPath": "https://b/x"}, "https://b/x"),
    ("MaxPayloadInMB", 101, "100"),
    ("DataProcessing", {"InputFilter": "$.x["}, "$.x["),
    ("DataProcessing", {"InputFilter": "$.x"}, "$.x"),  # of CSV
    ("Environment", {f"K{i}": "v" for i in range(17)}, "16"),
])
def test_wrong_requests_are_refused(sm, sums, member, value, says):
    job = name()
    code, text = refused(sm.create_transform_job, **transforming(job, sums, "s3://b/x", "s3://b/out", **{member: value}))
    assert code == "ValidationException" and says.lower() in text.lower(), text
    assert refused(sm.describe_transform_job, TransformJobName=job)[0] == "ValidationException"


def test_limits(sm, sums):
    code, text = refused(sm.create_transform_job, **transforming(name(), sums, "s3://b/x", "s3://b/out", InstanceCount=100))
    assert code == "ResourceLimitExceeded" and "request delta of 100 Instances" in text, text
    code, text = refused(sm.create_transform_job, **transforming(name(), sums, "s3://b/x", "s3://b/out", MaxPayloadInMB=20, MaxConcurrentTransforms=6))
    assert code == "ValidationException" and "100" in text, text


def test_every_violation_is_named(sm, sums):
    code, text = refused(sm.create_transform_job, **transforming(
        "-bad-", sums, "s3://b/x", "s3://b/out", BatchStrategy="Some", TransformInput={"SplitType": "Word"}))
    assert code == "ValidationException" and text.startswith("3 validation errors detected: "), text
    assert "Value '-bad-' at 'transformJobName' failed to satisfy constraint: Member must satisfy regular expression pattern:" in text
    assert "at 'transformInput.splitType' failed to satisfy constraint" in text and "at 'batchStrategy' failed to satisfy constraint" in text, text
