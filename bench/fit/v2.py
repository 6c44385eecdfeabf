"""fit() of the SageMaker SDK v2 for jobs that sleep: argv has the seconds. A
line for each: how long fit() took, how much of it went by before it sent
CreateTrainingJob, and the job from its creation to its end."""

import json
import sys
import time

import boto3
from sagemaker.estimator import Estimator

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0"

sent = []
boto3.setup_default_session()
boto3.DEFAULT_SESSION.events.register("before-send.sagemaker.CreateTrainingJob", lambda **_: sent.append(time.monotonic()))
describe = boto3.client("sagemaker").describe_training_job
for seconds in sys.argv[1:]:
    e = Estimator(
        image_uri=IMAGE, role="arn:aws:iam::123456789012:role/SageMakerRole", instance_type="ml.m5.large", instance_count=1,
        container_entry_point=["/bin/sleep"], container_arguments=[seconds],
    )
    begin = time.monotonic()
    e.fit()
    took = time.monotonic() - begin
    d = describe(TrainingJobName=e.latest_training_job.name)
    job = (d["TrainingEndTime"] - d["CreationTime"]).total_seconds()
    print("FIT", json.dumps({"Asked": float(seconds), "Before": sent[-1] - begin, "Fit": took, "Job": job}), flush=True)
