"""SageMaker Python SDK v3: ModelTrainer, and sagemaker-core's resources."""

import json
import logging

import boto3
import pytest
from botocore.exceptions import ClientError
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import TrainingJob
from sagemaker.core.shapes import (
    AlgorithmSpecification,
    MetricDefinition,
    OutputDataConfig,
    ResourceConfig,
    StoppingCondition,
)
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer

from helpers import IMAGE, JOBS, ROLE, archive, bucket, lines, name, request, secondary, wait


def trainer(session, script, **more):
    settings = dict(
        training_image=image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1"),
        source_code=SourceCode(source_dir=JOBS, entry_script=script),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        role=ROLE,
        sagemaker_session=session,
        base_job_name=name("v3"),
    )
    return ModelTrainer(**{**settings, **more})


@pytest.fixture(scope="module")
def trained(session, train):
    t = trainer(session, "quick.py", hyperparameters={"epochs": 4, "note": "two words"})
    t = t.with_metric_definitions([MetricDefinition(name="loss", regex=r"loss=([0-9.]+);")])
    t.train(input_data_config=[InputData(channel_name="train", data_source=train)])
    return t._latest_training_job.refresh()


def test_train(trained):
    assert trained.training_job_status == "Completed"
    assert list(archive(trained.model_artifacts.s3_model_artifacts)) == ["model.joblib"]
    out = lines(trained.training_job_name)
    assert "epoch=4 loss=0.250;" in out and "note is 'two words'" in out


def test_environment(trained):
    uri = trained.model_artifacts.s3_model_artifacts.replace("model.tar.gz", "output.tar.gz")
    env = json.loads(next(v for k, v in archive(uri).items() if k.endswith("seen.json")))
    assert env["SM_CURRENT_HOST"] == "algo-1" and env["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert env["SM_ENTRY_SCRIPT"] == "quick.py"


def test_metrics(trained):
    assert [(m.metric_name, round(m.value, 3)) for m in trained.final_metric_data_list] == [("loss", 0.25)]


def test_train_shows_the_log(session, train, caplog):
    t = trainer(session, "quick.py", hyperparameters={"epochs": 2})
    core = logging.getLogger("sagemaker.core")
    core.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            t.train(input_data_config=[InputData(channel_name="train", data_source=train)])
    finally:
        core.removeHandler(caplog.handler)
    shown = [r.getMessage() for r in caplog.records]
    assert any("epoch=2 loss=0.500;" in m for m in shown), shown[-5:]


def test_failing_script(session):
    t = trainer(session, "failing.py")
    with pytest.raises(FailedStatusError) as failed:
        t.train()
    assert "ZeroDivisionError" in str(failed.value)
    reason = t._latest_training_job.refresh().failure_reason
    assert reason.startswith("AlgorithmError:") and "division by zero" in reason


@pytest.mark.long
def test_stop(session):
    t = trainer(session, "patient.py")
    t.train(wait=False)
    job = t._latest_training_job
    wait(job.training_job_name, ("Training",), "SecondaryStatus")
    job.stop()
    job.wait(timeout=180)
    job.refresh()
    assert job.training_job_status == "Stopped"
    # The SDK's driver is a shell, which does not pass the signal on: nothing
    # was saved, and what there was is uploaded.
    archive(job.model_artifacts.s3_model_artifacts)


def test_local_data_is_uploaded(session, tmp_path):
    from helpers import training_csv

    training_csv(str(tmp_path))
    t = trainer(session, "quick.py")
    t.train(input_data_config=[InputData(channel_name="train", data_source=str(tmp_path))])
    assert t._latest_training_job.refresh().training_job_status == "Completed"


def test_command_and_requirements(session, tmp_path):
    (tmp_path / "requirements.txt").write_text("iniconfig==2.3.0\n")
    (tmp_path / "go.sh").write_text("python -c 'import iniconfig; print(\"has\", iniconfig.__name__)'\n")
    t = trainer(session, "", source_code=SourceCode(source_dir=str(tmp_path), requirements="requirements.txt", command="bash go.sh"))
    t.train()
    assert "has iniconfig" in lines(t._latest_training_job.training_job_name)


def test_resources():
    job = name("core")
    made = TrainingJob.create(
        training_job_name=job,
        role_arn=ROLE,
        algorithm_specification=AlgorithmSpecification(
            training_image=IMAGE, training_input_mode="File",
            container_entrypoint=["/bin/bash", "-c"], container_arguments=["echo from core"],
        ),
        output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket()}/core"),
        resource_config=ResourceConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
    )
    made.wait(poll=1, timeout=240)
    got = TrainingJob.get(job)
    assert got.training_job_status == "Completed" and got.training_job_arn.endswith(f"training-job/{job}")
    assert secondary(boto3.client("sagemaker").describe_training_job(TrainingJobName=job))[-1] == "Completed"
    assert [j.training_job_name for j in TrainingJob.get_all(name_contains=job)] == [job]
    assert lines(job) == ["from core"]
    got.delete()
    got.wait_for_delete(poll=1, timeout=60)
    with pytest.raises(ClientError, match="Requested resource not found"):
        TrainingJob.get(job)


def test_duplicate():
    job, sm = name("twice"), boto3.client("sagemaker")
    sm.create_training_job(**request(job, "true"))
    with pytest.raises(ClientError, match="already exists"):
        TrainingJob.create(
            training_job_name=job, role_arn=ROLE,
            algorithm_specification=AlgorithmSpecification(training_image=IMAGE, training_input_mode="File"),
            output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket()}/core"),
            resource_config=ResourceConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
        )
    assert wait(job)["TrainingJobStatus"] == "Completed"



def test_session(session, tmp_path):
    b = session.default_bucket()
    assert b == f"sagemaker-{session.boto_region_name}-{session.account_id()}"
    (tmp_path / "a.txt").write_text("a")
    prefix = name("session")
    session.upload_data(str(tmp_path / "a.txt"), key_prefix=prefix)
    assert session.list_s3_files(b, prefix) == [f"{prefix}/a.txt"]
    session.download_data(str(tmp_path / "down"), b, key_prefix=prefix)
    assert (tmp_path / "down" / "a.txt").read_text() == "a"


def test_execution_role():
    role = name("role")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {
        "Service": "sagemaker.amazonaws.com", "AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}]}
    iam = boto3.client("iam")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))
    got = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    boto = boto3.session.Session(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])
    assert get_execution_role(Session(boto)) == arn
