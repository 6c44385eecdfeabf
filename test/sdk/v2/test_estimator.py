"""SageMaker Python SDK v2: what `fit` and its friends do."""

import json
import os
import re
import tarfile
import tempfile

import boto3
import numpy as np
import pytest
import sagemaker
from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.inputs import TrainingInput
from sagemaker.sklearn import SKLearn

from helpers import GROUP, IMAGE, JOBS, ROLE, archive, lines, name, printed, secondary, wait

METRICS = [{"Name": "loss", "Regex": r"loss=([0-9.]+);"}]


def sklearn(session, script, **more):
    settings = dict(
        entry_point=os.path.join(JOBS, script),
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        role=ROLE,
        sagemaker_session=session,
        base_job_name=name("v2"),
    )
    return SKLearn(**{**settings, **more})


@pytest.fixture(scope="module")
def fitted(session, train):
    e = sklearn(session, "quick.py", hyperparameters={"epochs": 4, "note": "it's \"quoted\""}, metric_definitions=METRICS)
    e.fit({"train": train})
    return e


def test_fit_shows_the_log(session, train, capfd):
    e = sklearn(session, "quick.py", hyperparameters={"epochs": 2})
    e.fit({"train": train})
    out = capfd.readouterr()
    text = out.out + out.err
    assert "epoch=1 loss=1.000;" in text
    assert text.count("epoch=2 loss=0.500;") == 1
    assert "Billable seconds" in text


def test_model_artifact(fitted):
    files = archive(fitted.model_data)
    assert list(files) == ["model.joblib"]
    assert fitted.model_data.endswith(f"/{fitted.latest_training_job.name}/output/model.tar.gz")


def test_output_and_environment(fitted):
    files = archive(fitted.model_data.replace("model.tar.gz", "output.tar.gz"))
    env = json.loads(next(v for k, v in files.items() if k.endswith("seen.json")))
    assert env["SM_HP_EPOCHS"] == "4"
    assert json.loads(env["SM_HPS"])["note"] == 'it\'s "quoted"'
    assert json.loads(env["SM_CHANNELS"]) == ["train"]
    assert env["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert json.loads(env["SM_HOSTS"]) == ["algo-1"] and env["SM_CURRENT_HOST"] == "algo-1"
    assert env["SM_USER_ENTRY_POINT"] == "quick.py"
    assert env["SM_CURRENT_INSTANCE_TYPE"] == "ml.m5.large"
    assert env["TRAINING_JOB_NAME"] == fitted.latest_training_job.name
    assert env["AWS_REGION"] == boto3.session.Session().region_name


def test_hyperparameters_arrive_as_they_were(fitted):
    assert "note is 'it\\'s \"quoted\"'" in lines(fitted.latest_training_job.name)


def test_describe_after_the_end(fitted, sm):
    d = sm.describe_training_job(TrainingJobName=fitted.latest_training_job.name)
    assert d["TrainingJobStatus"] == d["SecondaryStatus"] == "Completed"
    assert secondary(d)[0] == "Starting"
    assert secondary(d)[-4:] == ["Downloading", "Training", "Uploading", "Completed"]
    times = [(t["StartTime"], t["EndTime"]) for t in d["SecondaryStatusTransitions"]]
    assert all(a <= b for a, b in times) and all(x[1] <= y[0] for x, y in zip(times, times[1:]))
    assert d["CreationTime"] <= d["TrainingStartTime"] <= d["TrainingEndTime"] <= d["LastModifiedTime"]
    assert d["TrainingTimeInSeconds"] == d["BillableTimeInSeconds"] > 0
    assert d["HyperParameters"]["sagemaker_program"] == '"quick.py"'
    assert d["ModelArtifacts"]["S3ModelArtifacts"] == fitted.model_data


def test_metrics(fitted, sm):
    job = fitted.latest_training_job.name
    final = sm.describe_training_job(TrainingJobName=job)["FinalMetricDataList"]
    assert [(m["MetricName"], round(m["Value"], 3)) for m in final] == [("loss", 0.25)]
    frame = TrainingJobAnalytics(job).dataframe()
    assert set(frame["metric_name"]) == {"loss"}
    assert 0.25 <= frame["value"].iloc[0] <= 1


def test_attach(fitted, session):
    e = Estimator.attach(fitted.latest_training_job.name, sagemaker_session=session)
    assert e.model_data == fitted.model_data
    e = SKLearn.attach(fitted.latest_training_job.name, sagemaker_session=session)
    assert e.hyperparameters()["epochs"] == "4"


def test_tags_through_the_estimator(session, train, sm):
    e = sklearn(session, "quick.py", tags=[{"Key": "team", "Value": "a b"}])
    e.fit({"train": train}, wait=False)
    job = e.latest_training_job.name
    arn = sm.describe_training_job(TrainingJobName=job)["TrainingJobArn"]
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a b"}]
    assert wait(job)["TrainingJobStatus"] == "Completed"


def test_failing_script(session, sm, capfd):
    e = sklearn(session, "failing.py")
    with pytest.raises(UnexpectedStatusException) as failed:
        e.fit()
    assert failed.value.actual_status == "Failed"
    d = sm.describe_training_job(TrainingJobName=e.latest_training_job.name)
    reason = d["FailureReason"]
    assert reason.startswith("AlgorithmError:") and "exit code: 1" in reason
    assert "ZeroDivisionError: division by zero" in reason and "divide(1, 0)" in reason
    assert secondary(d)[-1] == "Failed"
    assert "before the bug" in capfd.readouterr().out


def test_stop(session, sm):
    e = sklearn(session, "patient.py")
    e.fit(wait=False)
    job = e.latest_training_job.name
    wait(job, ("Training",), "SecondaryStatus")
    printed(job, "tick 1", GROUP)  # it listens for the signal now
    e.latest_training_job.stop()
    d = wait(job)
    assert d["TrainingJobStatus"] == "Stopped" and secondary(d)[-3:] == ["Stopping", "Uploading", "Stopped"]
    files = archive(d["ModelArtifacts"]["S3ModelArtifacts"])
    assert files["saved.txt"].startswith(b"stopped after ")
    assert "saved" in lines(job)


def test_same_name_twice(session, train):
    e = sklearn(session, "quick.py")
    job = name("twice")
    e.fit({"train": train}, job_name=job, wait=False)
    with pytest.raises(Exception, match="already exists") as again:
        e.fit({"train": train}, job_name=job)
    assert again.value.response["Error"]["Code"] == "ResourceInUse"
    wait(job)


def test_generic_estimator(session, train):
    e = Estimator(
        image_uri=IMAGE, entry_point="quick.py", source_dir=JOBS, instance_count=1, instance_type="ml.c5.xlarge",
        role=ROLE, sagemaker_session=session, base_job_name=name("generic"), max_run=900, volume_size=10,
    )
    e.fit({"train": train}, logs="None")
    assert list(archive(e.model_data)) == ["model.joblib"]


def test_distributed(session, tmp_path, s3):
    """Two hosts, each with a part of the rows, train the model that one host
    with all of them would get."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True, as_frame=True)
    prefix = name("rows")
    for i in range(4):
        s3.put_object(Bucket=session.default_bucket(), Key=f"{prefix}/{i}.csv", Body=x.assign(label=y)[i::4].to_csv(index=False).encode())
    e = Estimator(
        image_uri=IMAGE, entry_point="allreduce.py", source_dir=JOBS, instance_count=2, instance_type="ml.m5.large",
        role=ROLE, sagemaker_session=session, base_job_name=name("two"), hyperparameters={"epochs": 300},
    )
    e.fit({"train": TrainingInput(f"s3://{session.default_bucket()}/{prefix}", distribution="ShardedByS3Key")}, wait=False)
    job = e.latest_training_job.name
    d = wait(job)
    out = lines(job)
    assert d["TrainingJobStatus"] == "Completed", (d.get("FailureReason"), out)
    for host in ("algo-1", "algo-2"):  # two files of 150 / 4 rows each
        assert any(re.fullmatch(f"{host} has 7[456] of 150 rows", line) for line in out), out

    rows, weights = np.column_stack([x.to_numpy(), np.ones(150)]), np.zeros(5)
    for _ in range(300):
        weights -= 0.1 * rows.T @ (1 / (1 + np.exp(-rows @ weights)) - (y > 0)) / 150
    ends = [line.split("; ")[1] for line in out if " ends at accuracy=1.0000; " in line]
    assert len(ends) == 2 and ends[0] == ends[1], out
    np.testing.assert_allclose([float(w) for w in ends[0].split()], weights, rtol=1e-9)
    np.testing.assert_allclose(json.loads(archive(e.model_data)["weights-algo-1.json"]), weights, rtol=1e-9)
    assert d["BillableTimeInSeconds"] == d["TrainingTimeInSeconds"]  # of each host


def test_requirements_are_installed(session, tmp_path):
    (tmp_path / "train.py").write_text("import iniconfig\nprint('has', iniconfig.__name__, flush=True)\n")
    (tmp_path / "requirements.txt").write_text("iniconfig==2.3.0\n")
    e = sklearn(session, "", entry_point="train.py", source_dir=str(tmp_path))
    e.fit(logs="None")
    assert "has iniconfig" in lines(e.latest_training_job.name)


def test_session(session, tmp_path):
    b = session.default_bucket()
    assert b == f"sagemaker-{session.boto_region_name}-{session.account_id()}"
    folder = tmp_path / "up"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_bytes(b"b" * 100_000)
    prefix = name("session")
    assert session.upload_data(str(folder), key_prefix=prefix) == f"s3://{b}/{prefix}"
    assert sorted(session.list_s3_files(b, prefix)) == [f"{prefix}/a.txt", f"{prefix}/sub/b.txt"]
    session.download_data(str(tmp_path / "down"), b, key_prefix=prefix)
    assert (tmp_path / "down" / "sub" / "b.txt").read_bytes() == b"b" * 100_000
    assert session.read_s3_file(b, f"{prefix}/a.txt") == "a"
    uri = session.upload_string_as_file_body("text", b, f"{prefix}/c.txt")
    assert session.read_s3_file(b, f"{prefix}/c.txt") == "text", uri


def test_execution_role():
    role = "SageMakerExecution" + name("")[-6:]
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"},
    ]}
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["iam:GetRole", "sts:*"], "Resource": "*"}]}
    iam = boto3.client("iam")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="read", PolicyDocument=json.dumps(allow))
    got = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    boto = boto3.session.Session(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])
    assert sagemaker.get_execution_role(sagemaker.Session(boto)) == arn


def test_source_dir_of_many_files(session, train, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("ANSWER = 42\n")
    (tmp_path / "main.py").write_text("from lib import ANSWER\nprint('answer', ANSWER, flush=True)\n")
    e = sklearn(session, "", entry_point="main.py", source_dir=str(tmp_path))
    e.fit({"train": train, "other": train}, logs="None")
    assert "answer 42" in lines(e.latest_training_job.name)


def test_no_model_is_an_empty_archive(session):
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "nothing.py")
        with open(script, "w") as f:
            f.write("print('nothing saved')\n")
        e = sklearn(session, "", entry_point=script)
        e.fit(logs="None")
    with tempfile.TemporaryDirectory() as folder:
        e.sagemaker_session.download_data(folder, *e.model_data.removeprefix("s3://").split("/", 1))
        with tarfile.open(os.path.join(folder, "model.tar.gz")) as tar:
            assert [m for m in tar if m.isfile()] == []
