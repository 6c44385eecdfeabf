"""SageMaker Python SDK v3: processors, and sagemaker-core's ProcessingJob."""

import contextlib
import io
import json
import os

import pytest
from botocore.exceptions import ClientError
from sagemaker.core import image_uris
from sagemaker.core.processing import FrameworkProcessor, ScriptProcessor
from sagemaker.core.resources import ProcessingJob
from sagemaker.core.shapes import (
    AppSpecification,
    ProcessingClusterConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingResources,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.utils.exceptions import FailedStatusError

from helpers import IMAGE, JOBS, PROCESSING, ROLE, lines, name, objects, printed, processed, training_csv

BASE = "/opt/ml/processing"


def processor(cls, session, **more):
    image = image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1")
    return cls(image_uri=image, role=ROLE, instance_type="ml.m5.large", instance_count=1, sagemaker_session=session, base_job_name=name("v3"), **more)


def output(folder):
    """Where it goes the SDK says."""
    return ProcessingOutput(output_name=folder, s3_output=ProcessingS3Output(s3_uri="", local_path=f"{BASE}/output/{folder}", s3_upload_mode="EndOfJob"))


@pytest.fixture(scope="module")
def cleaned(session, tmp_path_factory):
    """A job and what the SDK printed meanwhile."""
    folder = tmp_path_factory.mktemp("cleaned")
    training_csv(str(folder))
    p = processor(ScriptProcessor, session, command=["python3"], env={"WORD": "a  b"})
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        p.run(
            code=os.path.join(JOBS, "clean.py"),
            inputs=[ProcessingInput(input_name="data", s3_input=ProcessingS3Input(
                s3_uri=str(folder), local_path=f"{BASE}/input/data", s3_data_type="S3Prefix", s3_input_mode="File"))],
            outputs=[output("kept"), output("seen")],
            arguments=["--label", "2", "--note", "two words"],
            experiment_config={"ExperimentName": "flowers"},
        )
    return p.latest_job.refresh(), out.getvalue()


def test_run(cleaned):
    job, shown = cleaned
    assert shown.count("kept 50 of 150") == 1
    assert job.processing_job_status == "Completed" and job.exit_message == "kept 50 ✓"
    assert job.experiment_config.experiment_name == "flowers" and job.environment == {"WORD": "a  b"}
    kept, seen = (o.s3_output.s3_uri for o in job.processing_output_config.outputs)
    assert len(objects(kept)["kept.csv"].splitlines()) == 51
    told = json.loads(objects(seen)["deep/seen.json"])
    assert told["note"] == "two words" and told["env"]["WORD"] == "a  b"
    assert told["processingjobconfig"]["ProcessingJobArn"] == job.processing_job_arn


def test_source_dir_and_requirements(session, tmp_path):
    (tmp_path / "lib.py").write_text("ANSWER = 42\n")
    (tmp_path / "main.py").write_text("import sys, iniconfig, lib\nprint(iniconfig.__name__, lib.ANSWER, sys.argv[1:])\n")
    (tmp_path / "requirements.txt").write_text("iniconfig==2.3.0\n")
    p = processor(FrameworkProcessor, session)
    p.run(code="main.py", source_dir=str(tmp_path), arguments=["--a", "b c"], wait=False, logs=False)
    job = p.latest_job.processing_job_name
    d = processed(job)
    out = lines(job, PROCESSING)
    assert d["ProcessingJobStatus"] == "Completed", (d.get("FailureReason"), out)
    assert "iniconfig 42 ['--a', 'b c']" in out


def create(job, script):
    return ProcessingJob.create(
        processing_job_name=job,
        role_arn=ROLE,
        app_specification=AppSpecification(image_uri=IMAGE, container_entrypoint=["/bin/bash", "-c"], container_arguments=[script]),
        processing_resources=ProcessingResources(cluster_config=ProcessingClusterConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5)),
    )


def test_resource():
    job = name("core")
    create(job, "echo from core").wait(poll=1, timeout=240)
    got = ProcessingJob.get(job)
    assert got.processing_job_status == "Completed" and got.processing_job_arn.endswith(f"processing-job/{job}")
    assert [j.processing_job_name for j in ProcessingJob.get_all(name_contains=job)] == [job]
    assert lines(job, PROCESSING) == ["from core"]
    with pytest.raises(ClientError, match="already exists"):
        create(job, "true")
    got.delete()
    with pytest.raises(ClientError, match="Could not find requested job with name"):
        for _ in range(200):
            ProcessingJob.get(job)


def test_failure():
    with pytest.raises(FailedStatusError, match="exit code: 7"):
        create(name("core"), "exit 7").wait(poll=1, timeout=240)


def test_stop():
    job = create(name("core"), "trap 'exit 0' TERM; echo ready; sleep 300 & wait")
    printed(job.processing_job_name, "ready", PROCESSING)
    job.stop()
    job.wait(poll=1, timeout=240)
    assert job.refresh().processing_job_status == "Stopped"
