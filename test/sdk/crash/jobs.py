"""Jobs over a server that is killed in each of their phases.

It says "kill: WHEN" and goes on when the server, killed and started again,
answers. Clients here retry as long as that takes.
"""

import os
import sys

import boto3
from botocore.config import Config

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import helpers  # noqa: E402
from helpers import archive, bucket, lines, name, request, secondary, wait  # noqa: E402

patient = Config(retries={"mode": "standard", "total_max_attempts": 12})
default = boto3.client
boto3.client = lambda service, **kw: default(service, config=patient, **kw)
sm = boto3.client("sagemaker")


def kill(when):
    print(f"kill: {when}", flush=True)


def count(job, n):
    got = [x for x in lines(job) if x.startswith("n=")]
    assert got == [f"n={i}" for i in range(1, n + 1)], (job, got)


def bill(d):
    span = (d["TrainingEndTime"] - d["TrainingStartTime"]).total_seconds()
    assert abs(d["BillableTimeInSeconds"] - span) <= 1, (d["BillableTimeInSeconds"], span)


COUNTING = "for i in $(seq 1 %d); do echo n=$i; sleep 0.1; done; echo done > /opt/ml/model/m"

# The runtime is built first, so that the phases below are the job's own.
assert helpers.run(name("warm"), "true")["TrainingJobStatus"] == "Completed"
b, prefix = bucket(), name("inputs")
for i in range(60):
    boto3.client("s3").put_object(Bucket=b, Key=f"{prefix}/{i}", Body=os.urandom(256 << 10))
channel = [{"ChannelName": "c", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{b}/{prefix}"}}}]

# Killed right after the create was answered: the job is there and runs.
job = name("created")
sm.create_training_job(**request(job, COUNTING % 20))
kill("created")
d = wait(job)
assert d["TrainingJobStatus"] == "Completed", d
count(job, 20)
bill(d)

# Killed while stage fetches through the very server that dies.
job = name("downloading")
sm.create_training_job(**request(job, "ls /opt/ml/input/data/c | wc -l; " + COUNTING % 10, InputDataConfig=channel))
kill("downloading")
d = wait(job)
assert d["TrainingJobStatus"] == "Completed", d
assert lines(job)[0] == "60"
count(job, 10)
bill(d)

# Killed in the middle of the program; logs come on both sides of it.
job = name("training")
sm.create_training_job(**request(job, COUNTING % 60))
wait(job, ("Training",), "SecondaryStatus")
kill("training")
d = wait(job)
assert d["TrainingJobStatus"] == "Completed", d
assert secondary(d).count("Training") == 1, secondary(d)
count(job, 60)
bill(d)
assert archive(d["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": b"done\n"}

# The program fails while there is no server; what it said is kept.
job = name("meanwhile")
sm.create_training_job(**request(job, "for i in $(seq 1 20); do echo n=$i; sleep 0.1; done; echo 'it broke' > /opt/ml/output/failure; exit 7"))
wait(job, ("Training",), "SecondaryStatus")
kill("ends meanwhile")
d = wait(job)
assert d["TrainingJobStatus"] == "Failed" and "it broke" in d["FailureReason"] and d["FailureReason"].endswith("exit code: 7"), d
count(job, 20)
bill(d)

# Killed after a stop was accepted.
job = name("stopping")
sm.create_training_job(**request(job, "trap 'sleep 1; echo bye > /opt/ml/model/m; exit 0' TERM; while true; do sleep 0.1; done"))
wait(job, ("Training",), "SecondaryStatus")
sm.stop_training_job(TrainingJobName=job)
kill("stopping")
d = wait(job)
assert d["TrainingJobStatus"] == "Stopped", d
assert archive(d["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": b"bye\n"}
bill(d)
print("all as it should be")
