"""The AWS CLI."""

import json
import subprocess

from helpers import bucket, name, request, wait


def aws(*args, fails=False):
    r = subprocess.run(["aws", *args], capture_output=True, text=True, timeout=120)
    assert (r.returncode != 0) == fails, (args, r.returncode, r.stdout, r.stderr)
    return r.stderr if fails else r.stdout


def test_identity():
    assert json.loads(aws("sts", "get-caller-identity"))["Account"] == "123456789012"


def test_s3(tmp_path):
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
    aws("s3", "rb", "--force", f"s3://{b}")
    assert b not in aws("s3", "ls")


def test_training_job(tmp_path):
    job = name("cli")
    (tmp_path / "job.json").write_text(json.dumps(request(job, "echo from the cli")))
    made = json.loads(aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{tmp_path}/job.json"))
    assert made["TrainingJobArn"].endswith(f":training-job/{job}")
    assert wait(job)["TrainingJobStatus"] == "Completed"
    aws("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", job)
    listed = json.loads(aws("sagemaker", "list-training-jobs", "--name-contains", job))
    assert [j["TrainingJobStatus"] for j in listed["TrainingJobSummaries"]] == ["Completed"]
    stream = json.loads(aws("logs", "describe-log-streams", "--log-group-name", "/aws/sagemaker/TrainingJobs", "--log-stream-name-prefix", job))["logStreams"][0]
    events = json.loads(aws("logs", "get-log-events", "--log-group-name", "/aws/sagemaker/TrainingJobs", "--log-stream-name", stream["logStreamName"]))
    assert events["events"][-1]["message"] == "from the cli"


def test_errors_read_as_on_aws():
    err = aws("sagemaker", "describe-training-job", "--training-job-name", "no-such-job", fails=True)
    assert "An error occurred (ValidationException) when calling the DescribeTrainingJob operation: Requested resource not found" in err
    err = aws("s3api", "get-object", "--bucket", bucket(), "--key", name("none"), "/dev/null", fails=True)
    assert "NoSuchKey" in err
