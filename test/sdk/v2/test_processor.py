"""SageMaker Python SDK v2: processors."""

import contextlib
import io
import json
import os

import boto3
import pytest
from botocore.exceptions import ClientError
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.network import NetworkConfig
from sagemaker.processing import FrameworkProcessor, ProcessingInput, ProcessingJob, ProcessingOutput, Processor, ScriptProcessor
from sagemaker.sklearn import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor

from helpers import IMAGE, JOBS, PROCESSING, ROLE, bucket, lines, name, objects, printed, processed, training_csv

BASE = "/opt/ml/processing"
ONE = dict(role=ROLE, instance_type="ml.m5.large", instance_count=1)


def ends(processor, **run):
    """Runs to the end, which the SDK would see at its next look only."""
    processor.run(wait=False, logs=False, **run)
    return processed(processor.latest_job.job_name)


@pytest.fixture(scope="module")
def cleaned(session, tmp_path_factory):
    """A job with everything, and what the SDK printed meanwhile."""
    folder = tmp_path_factory.mktemp("cleaned")
    training_csv(str(folder))
    p = SKLearnProcessor(
        framework_version="1.2-1", sagemaker_session=session, base_job_name=name("v2"), volume_size_in_gb=7, max_runtime_in_seconds=900,
        env={"WORD": "a  b"}, tags=[{"Key": "team", "Value": "a b"}], **ONE,
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        p.run(
            code=os.path.join(JOBS, "clean.py"),
            inputs=[ProcessingInput(source=str(folder), destination=f"{BASE}/input/data", input_name="data")],
            outputs=[
                ProcessingOutput(source=f"{BASE}/output/kept", output_name="kept"),
                ProcessingOutput(source=f"{BASE}/output/seen", output_name="seen", s3_upload_mode="Continuous"),
            ],
            arguments=["--label", "1", "--note", "it's \"quoted\" $HOME"],
            experiment_config={"ExperimentName": "flowers", "TrialComponentDisplayName": "cleaning"},
        )
    return p.latest_job, out.getvalue()


def test_run_shows_the_log(cleaned):
    assert cleaned[1].count("kept 50 of 150") == 1


def test_outputs(cleaned, session):
    job = cleaned[0]
    kept = job.outputs[0].destination
    assert kept == f"s3://{session.default_bucket()}/{job.job_name}/output/kept"
    assert list(objects(kept)) == ["kept.csv"]
    rows = objects(kept)["kept.csv"].decode().splitlines()
    assert len(rows) == 51 and all(r.endswith(",1") for r in rows[1:])
    assert list(objects(job.outputs[1].destination)) == ["deep/seen.json"]


def tells(told, asked):
    """A job is told all that was asked for, and what nobody has set."""
    if isinstance(asked, dict):
        return all(tells(told[k], v) for k, v in asked.items())
    if isinstance(asked, list):
        return len(told) == len(asked) and all(map(tells, told, asked))
    return told == asked


def test_what_the_script_sees(cleaned):
    job = cleaned[0]
    seen = json.loads(objects(job.outputs[1].destination)["deep/seen.json"])
    assert seen["note"] == "it's \"quoted\" $HOME"
    assert seen["env"]["WORD"] == "a  b" and seen["env"]["AWS_REGION"] == boto3.session.Session().region_name
    assert (seen["resourceconfig"]["current_host"], seen["resourceconfig"]["hosts"]) == ("algo-1", ["algo-1"])
    config, d = seen["processingjobconfig"], job.describe()
    for member in ("ProcessingJobArn", "ProcessingJobName", "AppSpecification", "Environment", "ProcessingInputs", "ProcessingOutputConfig",
                   "ProcessingResources", "RoleArn", "StoppingCondition"):
        assert tells(config[member], d[member]), (member, config[member])


def test_describe(cleaned, session, sm):
    d = cleaned[0].describe()
    assert d["ProcessingJobStatus"] == "Completed" and "FailureReason" not in d
    assert d["ExitMessage"] == "kept 50 ✓"
    assert d["CreationTime"] <= d["ProcessingStartTime"] <= d["ProcessingEndTime"] <= d["LastModifiedTime"]
    assert d["ProcessingResources"]["ClusterConfig"] == {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 7}
    assert d["StoppingCondition"] == {"MaxRuntimeInSeconds": 900} and d["Environment"] == {"WORD": "a  b"}
    assert d["ExperimentConfig"] == {"ExperimentName": "flowers", "TrialComponentDisplayName": "cleaning"}
    assert d["AppSpecification"]["ContainerEntrypoint"] == ["python3", f"{BASE}/input/code/clean.py"]
    assert [i["InputName"] for i in d["ProcessingInputs"]] == ["data", "code"]
    assert d["RoleArn"] == ROLE and d["ProcessingJobArn"].endswith(f":processing-job/{cleaned[0].job_name}")
    assert sm.list_tags(ResourceArn=d["ProcessingJobArn"])["Tags"] == [{"Key": "team", "Value": "a b"}]


def test_from_arn(cleaned, session):
    d = cleaned[0].describe()
    job = ProcessingJob.from_processing_arn(session, d["ProcessingJobArn"])
    assert job.job_name == cleaned[0].job_name
    assert [(o.output_name, o.source, o.destination) for o in job.outputs] == [
        (o.output_name, o.source, o.destination) for o in cleaned[0].outputs]
    assert [(i.input_name, i.source, i.destination) for i in job.inputs] == [
        (i["InputName"], i["S3Input"]["S3Uri"], i["S3Input"]["LocalPath"]) for i in d["ProcessingInputs"]]
    job.wait(logs=False)  # it has ended


def test_same_name_twice(cleaned, session):
    p = Processor(image_uri=IMAGE, entrypoint=["true"], sagemaker_session=session, **ONE)
    with pytest.raises(ClientError, match="already exists") as again:
        p.run(job_name=cleaned[0].job_name)
    assert again.value.response["Error"]["Code"] == "ResourceInUse"


def test_failing_script(session):
    p = SKLearnProcessor(framework_version="1.2-1", sagemaker_session=session, base_job_name=name("v2"), **ONE)
    with pytest.raises(UnexpectedStatusException) as failed:
        p.run(code=os.path.join(JOBS, "failing.py"), logs=False)
    assert failed.value.actual_status == "Failed"
    reason = p.latest_job.describe()["FailureReason"]
    assert reason in str(failed.value)
    assert reason.startswith("AlgorithmError:") and "exit code: 1" in reason
    assert "ZeroDivisionError: division by zero" in reason
    assert "before the bug" in lines(p.latest_job.job_name, PROCESSING)


def test_stop(session, tmp_path):
    script = tmp_path / "patient.sh"
    script.write_text("trap 'echo saved > /opt/ml/processing/output/saved; exit 0' TERM; echo ready; sleep 300 & wait\n")
    p = ScriptProcessor(image_uri=IMAGE, command=["bash"], sagemaker_session=session, base_job_name=name("v2"), **ONE)
    p.run(code=str(script), outputs=[ProcessingOutput(source=f"{BASE}/output")], wait=False, logs=False)
    job = p.latest_job
    printed(job.job_name, "ready", PROCESSING)
    job.stop()
    d = processed(job.job_name)
    assert d["ProcessingJobStatus"] == "Stopped" and "FailureReason" not in d
    assert objects(job.outputs[0].destination) == {"saved": b"saved\n"}
    job.wait(logs=False)  # the SDK warns and goes on


def test_source_dir_and_requirements(session, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("ANSWER = 42\n")
    (tmp_path / "main.py").write_text("import sys, iniconfig, lib, sklearn\nprint(iniconfig.__name__, lib.ANSWER, sys.argv[1:])\n")
    (tmp_path / "requirements.txt").write_text("iniconfig==2.3.0\n")
    p = FrameworkProcessor(estimator_cls=SKLearn, framework_version="1.2-1", sagemaker_session=session, base_job_name=name("v2"), **ONE)
    d = ends(p, code="main.py", source_dir=str(tmp_path), arguments=["--a", "b c"])
    assert d["ProcessingJobStatus"] == "Completed", d.get("FailureReason")
    assert d["AppSpecification"]["ContainerEntrypoint"] == ["/bin/bash", f"{BASE}/input/entrypoint/runproc.sh"]
    assert "iniconfig 42 ['--a', 'b c']" in lines(p.latest_job.job_name, PROCESSING)


def test_entrypoint_alone_and_isolated(session):
    probe = ("import urllib.request as u,os\n"
             "for a in os.environ.get('AWS_ENDPOINT_URL','http://127.0.0.1:2527'),'http://169.254.170.2/','https://pypi.org/':\n"
             " try:u.urlopen(a,timeout=3);print('reached',a)\n"
             " except Exception as e:print(getattr(e,'code','refused'))")
    p = Processor(
        image_uri=IMAGE, entrypoint=["python3", "-c", "import os;exec(os.environ['PROBE'])"], env={"PROBE": probe},
        sagemaker_session=session, base_job_name=name("v2"),
        network_config=NetworkConfig(enable_network_isolation=True), **ONE,
    )
    d = ends(p)
    assert d["ProcessingJobStatus"] == "Completed", d.get("FailureReason")
    assert d["NetworkConfig"]["EnableNetworkIsolation"] is True
    assert lines(p.latest_job.job_name, PROCESSING) == ["refused"] * 3


def test_two_hosts_share_the_files(session, s3):
    prefix = name("shards")
    for k in ("a", "b", "c"):
        s3.put_object(Bucket=bucket(), Key=f"{prefix}/{k}.csv", Body=k.encode())
    p = ScriptProcessor(image_uri=IMAGE, command=["python3"], sagemaker_session=session, base_job_name=name("v2"), **{**ONE, "instance_count": 2})
    d = ends(
        p, code=os.path.join(JOBS, "shards.py"),
        inputs=[ProcessingInput(source=f"s3://{bucket()}/{prefix}", destination=f"{BASE}/input/shards", s3_data_distribution_type="ShardedByS3Key")],
        outputs=[ProcessingOutput(source=f"{BASE}/output", output_name="parts")],
    )
    job = p.latest_job
    out = lines(job.job_name, PROCESSING)
    assert d["ProcessingJobStatus"] == "Completed", (d.get("FailureReason"), out)
    assert d["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2
    parts = objects(job.outputs[0].destination)
    assert sorted(parts) == ["algo-1.txt", "algo-2.txt", "total.txt"] and parts["total.txt"] == b"3"
    shards = [parts[f"algo-{i}.txt"].decode().split() for i in (1, 2)]
    assert sorted(shards[0] + shards[1]) == ["a.csv", "b.csv", "c.csv"] and all(shards), shards
    for i in (1, 2):
        assert f"algo-{i} of algo-1 algo-2 has {len(shards[i - 1])}" in out
    logs = boto3.client("logs").describe_log_streams(logGroupName=PROCESSING, logStreamNamePrefix=job.job_name + "/")["logStreams"]
    assert [s["logStreamName"].rsplit("-", 1)[0] for s in logs] == [f"{job.job_name}/algo-1", f"{job.job_name}/algo-2"]
