"""train() of the SageMaker SDK v3 for jobs that sleep: argv has the seconds. A
line for each: how long train() took, how much of it went by before it sent
CreateTrainingJob, and the job from its creation to its end."""

import json
import sys
import time

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.training.configs import Compute, SourceCode
from sagemaker.train import ModelTrainer

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0"

sent = []
boto3.setup_default_session()
boto3.DEFAULT_SESSION.events.register("before-send.sagemaker.CreateTrainingJob", lambda **_: sent.append(time.monotonic()))
session = Session()
for seconds in sys.argv[1:]:
    t = ModelTrainer(
        training_image=IMAGE, source_code=SourceCode(command=f"sleep {seconds}"), role="arn:aws:iam::123456789012:role/SageMakerRole",
        compute=Compute(instance_type="ml.m5.large", instance_count=1), sagemaker_session=session, base_job_name="fit",
    )
    begin = time.monotonic()
    t.train()
    took = time.monotonic() - begin
    d = t._latest_training_job.refresh()
    job = (d.training_end_time - d.creation_time).total_seconds()
    print("FIT", json.dumps({"Asked": float(seconds), "Before": sent[-1] - begin, "Fit": took, "Job": job}), flush=True)
