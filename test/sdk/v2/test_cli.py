"""The AWS CLI: version 1, and version 2 as Debian packages it."""

import base64
import datetime
import json
import os
import re
import subprocess
import time

import pytest
from helpers import (
    GROUP, PROCESSING, ROLE, TRANSFORM, bucket, config, deploy, made, model, name, objects, processed, processing, request, stored,
    transformed, transforming, undeploy, variant, wait)


class CLI:
    def __init__(self, *program):
        self.program = program
        said = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = tuple(int(n) for n in re.match(r"aws-cli/(\d+)\.(\d+)", said).groups())
        if (2, 0) <= self.version < (2, 13):
            # before it knew AWS_ENDPOINT_URL
            self.program = (*program, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"])

    def __call__(self, *args, fails=False):
        r = subprocess.run([*self.program, *args], capture_output=True, text=True, timeout=120)
        refused = 254 if self.version >= (2, 0) else 255
        assert r.returncode == (refused if fails else 0), (args, r.returncode, r.stdout, r.stderr)
        return r.stderr if fails else r.stdout

    def json(self, *args):
        out = self(*args, "--output", "json")
        return json.loads(out) if out.strip() else None


@pytest.fixture(scope="module", params=["aws", "/usr/bin/aws"], ids=["v1", "debian"])
def aws(request):
    cli = CLI(request.param)
    assert cli.version[0] == (1 if request.param == "aws" else 2), cli.version
    return cli


def test_identity(aws):
    assert aws.json("sts", "get-caller-identity")["Account"] == "123456789012"


def test_s3(aws, tmp_path):
    b = name("cli")
    aws("s3", "mb", f"s3://{b}")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "big.bin").write_bytes(b"z" * (9 << 20))
    aws("s3", "sync", str(tmp_path), f"s3://{b}/dir")
    assert "big.bin" in aws("s3", "ls", f"s3://{b}/dir/")
    aws("s3", "cp", f"s3://{b}/dir/big.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == b"z" * (9 << 20)
    aws("s3", "cp", f"s3://{b}/dir/a.txt", f"s3://{b}/other.txt")
    assert aws("s3", "cp", f"s3://{b}/other.txt", "-") == "a"
    keys = aws.json("s3api", "list-objects-v2", "--bucket", b, "--page-size", "1", "--query", "Contents[].Key")
    assert keys == ["dir/a.txt", "dir/big.bin", "other.txt"]
    aws("s3", "rb", "--force", f"s3://{b}")
    assert b not in aws("s3", "ls")


def test_training_job(aws, tmp_path):
    job = name("cli")
    (tmp_path / "job.json").write_text(json.dumps(request(job, "echo from the cli")))
    made = aws.json("sagemaker", "create-training-job", "--cli-input-json", f"file://{tmp_path}/job.json")
    assert made["TrainingJobArn"].endswith(f":training-job/{job}")
    assert wait(job)["TrainingJobStatus"] == "Completed"
    aws("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", job)
    assert aws.json("sagemaker", "describe-training-job", "--training-job-name", job)["SecondaryStatus"] == "Completed"
    stream = aws.json("logs", "describe-log-streams", "--log-group-name", GROUP, "--log-stream-name-prefix", job)["logStreams"][0]
    events = aws.json("logs", "get-log-events", "--log-group-name", GROUP, "--log-stream-name", stream["logStreamName"])
    assert events["events"][-1]["message"] == "from the cli"
    if aws.version >= (2, 0):
        assert "from the cli" in aws("logs", "tail", GROUP, "--log-stream-name-prefix", job, "--since", "1h", "--format", "short")


def test_processing_job(aws, tmp_path):
    job, out = name("cli"), f"s3://{bucket()}/{name('out')}"
    (tmp_path / "job.json").write_text(json.dumps(processing(
        job, "echo from the cli | tee /opt/ml/processing/output/said", ProcessingOutputConfig={"Outputs": [made(out)]})))
    created = aws.json("sagemaker", "create-processing-job", "--cli-input-json", f"file://{tmp_path}/job.json")
    named = ("--processing-job-name", job)
    assert created["ProcessingJobArn"].endswith(f":processing-job/{job}")
    assert processed(job)["ProcessingJobStatus"] == "Completed"
    aws("sagemaker", "wait", "processing-job-completed-or-stopped", *named)
    assert objects(out) == {"said": b"from the cli\n"}
    events = aws.json("logs", "filter-log-events", "--log-group-name", PROCESSING, "--log-stream-name-prefix", job + "/")["events"]
    assert events[-1]["message"] == "from the cli"
    listed = aws.json("sagemaker", "list-processing-jobs", "--name-contains", job, "--status-equals", "Completed")
    assert [j["ProcessingJobName"] for j in listed["ProcessingJobSummaries"]] == [job]
    err = aws("sagemaker", "stop-processing-job", *named, fails=True)
    assert "(ValidationException)" in err


def test_transform_job(aws, tmp_path):
    m, job, out = model("sums.py"), name("cli"), f"s3://{bucket()}/{name('out')}"
    named = ("--transform-job-name", job)
    source = "DataSource={S3DataSource={S3DataType=S3Prefix,S3Uri=%s}},ContentType=text/csv,SplitType=Line" % stored({"a.csv": "x,1,2\ny,3,4\n"})
    created = aws.json(
        "sagemaker", "create-transform-job", *named, "--model-name", m, "--transform-input", source,
        "--transform-output", f"S3OutputPath={out},Accept=text/csv,AssembleWith=Line", "--batch-strategy", "SingleRecord",
        "--max-payload-in-mb", "1", "--transform-resources", "InstanceType=ml.m5.large,InstanceCount=1", "--environment", "TIMES=10",
        "--data-processing", '{"InputFilter": "$[1:]", "JoinSource": "Input"}', "--tags", "Key=team,Value=red")
    assert created["TransformJobArn"].endswith(f":transform-job/{job}")
    d = transformed(job)
    assert d["TransformJobStatus"] == "Completed", d
    aws("sagemaker", "wait", "transform-job-completed-or-stopped", *named)
    assert aws("s3", "cp", f"{out}/a.csv.out", "-") == "x,1,2,30\ny,3,4,70\n"
    assert aws.json("sagemaker", "describe-transform-job", *named)["DataProcessing"]["InputFilter"] == "$[1:]"
    assert aws.json("sagemaker", "list-tags", "--resource-arn", created["TransformJobArn"])["Tags"] == [{"Key": "team", "Value": "red"}]
    said = aws.json("logs", "filter-log-events", "--log-group-name", TRANSFORM, "--log-stream-name-prefix", job + "/", "--filter-pattern", '"[sagemaker logs]"')
    assert any("BatchStrategy=SINGLE_RECORD" in e["message"] and e["logStreamName"].endswith("/data-log") for e in said["events"]), said

    second = job + "-stopped"
    (tmp_path / "job.json").write_text(json.dumps(transforming(second, m, stored({"a.csv": "1\nsleep100\n"}), out)))
    aws("sagemaker", "create-transform-job", "--cli-input-json", f"file://{tmp_path}/job.json")
    aws("sagemaker", "stop-transform-job", "--transform-job-name", second)
    assert transformed(second)["TransformJobStatus"] == "Stopped"
    aws("sagemaker", "wait", "transform-job-completed-or-stopped", "--transform-job-name", second)
    listed = aws.json("sagemaker", "list-transform-jobs", "--name-contains", job, "--sort-by", "Name", "--sort-order", "Ascending", "--page-size", "1",
                      "--query", "TransformJobSummaries[].[TransformJobName,TransformJobStatus]")
    assert listed == [[job, "Completed"], [second, "Stopped"]]
    assert "(ValidationException)" in aws("sagemaker", "stop-transform-job", *named, fails=True)


def test_stop_and_list(aws, tmp_path):
    base = name("cli")
    jobs = [f"{base}-{x}" for x in "ab"]
    for job in jobs:
        (tmp_path / "job.json").write_text(json.dumps(request(job, "trap 'exit 0' TERM; sleep 300 & wait")))
        aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{tmp_path}/job.json")
        aws("sagemaker", "stop-training-job", "--training-job-name", job)
    for job in jobs:
        assert wait(job)["TrainingJobStatus"] == "Stopped"
    listed = aws.json("sagemaker", "list-training-jobs", "--name-contains", base, "--status-equals", "Stopped", "--sort-by", "Name",
                      "--sort-order", "Ascending", "--page-size", "1", "--query", "TrainingJobSummaries[].TrainingJobName")
    assert listed == jobs
    first = aws.json("sagemaker", "list-training-jobs", "--name-contains", base, "--max-items", "1")
    assert len(first["TrainingJobSummaries"]) == 1 and first["NextToken"]


def test_metrics(aws):
    space = name("Space")
    for value in ("1", "2", "6"):
        aws("cloudwatch", "put-metric-data", "--namespace", space, "--metric-name", "m", "--dimensions", "Job=x", "--value", value)
    now = datetime.datetime.now(datetime.timezone.utc)
    between = ["--start-time", (now - datetime.timedelta(hours=1)).isoformat(), "--end-time", (now + datetime.timedelta(hours=1)).isoformat()]
    got = aws.json("cloudwatch", "get-metric-statistics", "--namespace", space, "--metric-name", "m", "--dimensions", "Name=Job,Value=x",
                   "--period", "3600", "--statistics", "Sum", "SampleCount", *between)
    assert sum(p["Sum"] for p in got["Datapoints"]) == 9 and sum(p["SampleCount"] for p in got["Datapoints"]) == 3
    query = {"Id": "q", "MetricStat": {"Stat": "Maximum", "Period": 86400, "Metric": {"Namespace": space, "MetricName": "m", "Dimensions": [{"Name": "Job", "Value": "x"}]}}}
    got = aws.json("cloudwatch", "get-metric-data", "--metric-data-queries", json.dumps([query]), *between)
    assert max(got["MetricDataResults"][0]["Values"]) == 6
    assert aws.json("cloudwatch", "list-metrics", "--namespace", space)["Metrics"] == [
        {"Namespace": space, "MetricName": "m", "Dimensions": [{"Name": "Job", "Value": "x"}]}]
    err = aws("cloudwatch", "put-metric-data", "--namespace", "AWS/Mine", "--metric-name", "m", "--value", "1", fails=True)
    assert "(InvalidParameterValue)" in err


def test_errors_read_as_on_aws(aws):
    err = aws("sagemaker", "describe-training-job", "--training-job-name", "no-such-job", fails=True)
    assert "An error occurred (ValidationException) when calling the DescribeTrainingJob operation: Requested resource not found" in err
    err = aws("s3api", "get-object", "--bucket", bucket(), "--key", name("none"), "/dev/null", fails=True)
    assert "NoSuchKey" in err
    err = aws("logs", "get-log-events", "--log-group-name", "/no", "--log-stream-name", "x", fails=True)
    assert "ResourceNotFoundException" in err


def test_notebook_instance(aws):
    nb = name("cli")
    named = ("--notebook-instance-name", nb)

    def until(status):
        deadline = time.monotonic() + 300
        while (d := aws.json("sagemaker", "describe-notebook-instance", *named))["NotebookInstanceStatus"] != status:
            assert d["NotebookInstanceStatus"] != "Failed" and time.monotonic() < deadline, d
        return d

    made = aws.json("sagemaker", "create-notebook-instance", *named, "--instance-type", "ml.t3.medium", "--role-arn", ROLE, "--volume-size-in-gb", "6")
    assert made["NotebookInstanceArn"].endswith("notebook-instance/" + nb)
    assert until("InService")["VolumeSizeInGB"] == 6
    aws("sagemaker", "wait", "notebook-instance-in-service", *named)
    assert nb in [n["NotebookInstanceName"] for n in aws.json("sagemaker", "list-notebook-instances", "--status-equals", "InService")["NotebookInstances"]]
    assert aws.json("sagemaker", "create-presigned-notebook-instance-url", *named)["AuthorizedUrl"].startswith("http://nb-")
    said = aws("sagemaker", "delete-notebook-instance", *named, fails=True)
    assert "Status (InService) not in ([Stopped, Failed])" in said, said
    aws("sagemaker", "stop-notebook-instance", *named)
    until("Stopped")
    aws("sagemaker", "delete-notebook-instance", *named)
    aws("sagemaker", "wait", "notebook-instance-deleted", *named)


def test_git_repository_with_a_secret(aws, tmp_path):
    n = name("cli")
    (tmp_path / "secret.json").write_text('{"username": "me", "password": "token"}')
    secret = aws.json("secretsmanager", "create-secret", "--name", "git/" + n, "--secret-string", f"file://{tmp_path}/secret.json")
    assert json.loads(aws.json("secretsmanager", "get-secret-value", "--secret-id", "git/" + n)["SecretString"])["password"] == "token"
    aws("secretsmanager", "put-secret-value", "--secret-id", secret["ARN"], "--secret-string", "changed")
    stages = aws.json("secretsmanager", "describe-secret", "--secret-id", secret["ARN"])["VersionIdsToStages"]
    assert stages[secret["VersionId"]] == ["AWSPREVIOUS"]
    named = ("--code-repository-name", n)
    aws("sagemaker", "create-code-repository", *named, "--git-config", f"RepositoryUrl=https://git.example.com/a/b.git,Branch=main,SecretArn={secret['ARN']}")
    assert aws.json("sagemaker", "describe-code-repository", *named)["GitConfig"]["SecretArn"] == secret["ARN"]
    assert n in aws("sagemaker", "list-code-repositories", "--name-contains", n, "--query", "CodeRepositorySummaryList[].CodeRepositoryName", "--output", "text")
    aws("sagemaker", "delete-code-repository", *named)
    aws("secretsmanager", "delete-secret", "--secret-id", secret["ARN"], "--force-delete-without-recovery")
    assert "ResourceNotFoundException" in aws("secretsmanager", "get-secret-value", "--secret-id", "git/" + n, fails=True)

    (tmp_path / "start.sh").write_text("#!/bin/bash\n")
    named = ("--notebook-instance-lifecycle-config-name", n)
    content = base64.b64encode((tmp_path / "start.sh").read_bytes()).decode()
    aws("sagemaker", "create-notebook-instance-lifecycle-config", *named, "--on-start", "Content=" + content)
    assert aws.json("sagemaker", "describe-notebook-instance-lifecycle-config", *named)["OnStart"] == [{"Content": content}]
    aws("sagemaker", "delete-notebook-instance-lifecycle-config", *named)


def test_endpoint(aws, tmp_path):
    e = deploy(config(variant(model(WHO="cli"))))
    named = ("--endpoint-name", e)
    aws("sagemaker", "wait", "endpoint-in-service", *named)
    body, answer = tmp_path / "body", tmp_path / "answer"
    body.write_text('{"say": 6, "by": 2}')
    ask = ("sagemaker-runtime", "invoke-endpoint", *named, "--content-type", "application/json", "--body", f"fileb://{body}", str(answer))
    said = aws.json(*ask)
    assert (said["InvokedProductionVariant"], said["ContentType"]) == ("AllTraffic", "application/json")
    assert json.loads(answer.read_text()).items() >= {"who": "cli", "said": 3}.items()
    body.write_text('{"say": 6, "by": 0}')
    err = aws(*ask, fails=True)
    assert "(ModelError)" in err and "Received server error (500) from primary" in err
    undeploy(e)
    aws("sagemaker", "wait", "endpoint-deleted", *named)
