"""SageMaker Python SDK v3: Transformer, ModelBuilder.transformer, and
sagemaker-core's TransformJob."""

import json
import logging
import shutil
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from sagemaker.core import image_uris
from sagemaker.core.resources import Model, Tag, TransformJob
from sagemaker.core.shapes import (
    BatchDataCaptureConfig,
    DataProcessing,
    ModelClientConfig,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.transformer import Transformer
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sklearn.datasets import load_iris

from helpers import MODELS, ROLE, TRANSFORM, bucket, lines, model, name, objects, stored, transformed

ON = dict(instance_count=1, instance_type="ml.m5.large")
LINES = dict(content_type="text/csv", split_type="Line")


def transformer(session, m, **more):
    return Transformer(m, **ON, accept="text/csv", assemble_with="Line", sagemaker_session=session, **more)


@pytest.fixture(scope="module")
def scored(session):
    """A job with everything, the transformer that made it, and what the SDK
    showed meanwhile."""
    t = transformer(
        session, model("sums.py"), strategy="MultiRecord", max_concurrent_transforms=2, max_payload=3, env={"TIMES": "10"},
        tags=[{"Key": "team", "Value": "a b"}], base_transform_job_name=name("v3"),
    )
    shown = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    core = logging.getLogger("sagemaker.core")
    core.addHandler(handler)
    level = core.level
    core.setLevel(logging.INFO)
    kept = f"s3://{bucket()}/{name('kept')}"
    try:
        t.transform(
            stored({"a.csv": "x,1,2\ny,3,4\n", "b/c.csv": "z,5,6\n"}), **LINES, input_filter="$[1:]", join_source="Input",
            model_client_config={"InvocationsTimeoutInSeconds": 120, "InvocationsMaxRetries": 2},
            batch_data_capture_config=BatchDataCaptureConfig(destination_s3_uri=kept),
        )
    finally:
        core.removeHandler(handler)
        core.setLevel(level)
    return t, shown, kept


def test_transform(scored, session):
    t, _, kept = scored
    job = t.latest_transform_job.refresh()
    assert job.transform_job_status == "Completed" and job.model_name == t.model_name
    assert (job.max_payload_in_mb, job.max_concurrent_transforms, job.batch_strategy) == (3, 2, "MultiRecord")
    assert (job.data_processing.input_filter, job.data_processing.join_source) == ("$[1:]", "Input")
    assert job.model_client_config.invocations_max_retries == 2 and job.environment == {"TIMES": "10"}
    assert job.creation_time <= job.transform_start_time <= job.transform_end_time
    assert t.output_path == f"s3://{session.default_bucket()}/{job.transform_job_name}"
    assert objects(t.output_path) == {"a.csv.out": b"x,1,2,30\ny,3,4,70\n", "b/c.csv.out": b"z,5,6,110\n"}
    assert {key.split("/")[0] for key in objects(kept)} == {"input", "output"}
    tags = boto3.client("sagemaker").list_tags(ResourceArn=job.transform_job_arn)["Tags"]
    assert tags == [{"Key": "team", "Value": "a b"}]


def test_transform_shows_the_log(scored):
    assert any("rows 2" in m for m in scored[1]), scored[1]


def test_attach(scored, session):
    t, _, _ = scored
    again = Transformer.attach(t.latest_transform_job.transform_job_name, sagemaker_session=session)
    for member in ("model_name", "instance_count", "instance_type", "strategy", "assemble_with", "output_path", "accept",
                   "max_concurrent_transforms", "max_payload"):
        assert getattr(again, member) == getattr(t, member), member
    again.wait()  # it has ended


def test_stop(session):
    t = transformer(session, model("sums.py"), strategy="SingleRecord")
    t.transform(stored({"a.csv": "1\n", "b.csv": "1\nsleep100\n"}), **LINES, wait=False)
    job = t.latest_transform_job.transform_job_name
    deadline = time.monotonic() + 120
    while lines(job, TRANSFORM).count("rows 1") < 3:
        assert time.monotonic() < deadline, lines(job, TRANSFORM)
        time.sleep(0.2)
    t.stop_transform_job()
    assert t.latest_transform_job.refresh().transform_job_status == "Stopped"
    assert objects(t.output_path) == {"a.csv.out": b"1\n"}


def test_failure_is_told(session):
    t = transformer(session, model("sums.py"))
    with pytest.raises(FailedStatusError, match="ClientError: See job logs for more information"):
        t.transform(stored({"a.csv": "1\nrefuse\n"}), **LINES, logs=False)
    assert any("no such flower" in x for x in lines(t.latest_transform_job.transform_job_name, TRANSFORM))


def test_model_builder(session, train, tmp_path):
    """From a trainer to predictions beside the rows that they are of."""
    image = image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1")
    # A copy: the SDK takes no sources from below /root.
    source = SourceCode(source_dir=shutil.copytree(MODELS, str(tmp_path / "models")), entry_script="irises.py")
    trainer = ModelTrainer(
        training_image=image, source_code=source, compute=Compute(instance_type="ml.m5.large", instance_count=1), role=ROLE,
        sagemaker_session=session, base_job_name=name("v3"),
    )
    trainer.train(input_data_config=[InputData(channel_name="train", data_source=train)])
    artifact = trainer._latest_training_job.refresh().model_artifacts.s3_model_artifacts
    builder = ModelBuilder(
        s3_model_data_url=artifact, image_uri=image, source_code=source, instance_type="ml.m5.large", role_arn=ROLE,
        sagemaker_session=session, env_vars={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
    )
    built = builder.build(model_name=name("v3"))
    x, y = load_iris(return_X_y=True)
    data = stored({"irises.csv": "".join(f"{i}," + ",".join(map(str, row)) + "\n" for i, row in enumerate(x))})
    t = builder.transformer(**ON, accept="text/csv", assemble_with="Line", strategy="MultiRecord")
    t.transform(data, **LINES, input_filter="$[1:]", join_source="Input", output_filter="$[0,-1]", wait=False)
    d = transformed(t.latest_transform_job.transform_job_name)
    assert d["TransformJobStatus"] == "Completed", (d, lines(d["TransformJobName"], TRANSFORM))
    got = [line.split(",") for line in objects(t.output_path)["irises.csv.out"].decode().splitlines()]
    assert [int(i) for i, _ in got] == list(range(150)) and sum(float(k) == y[int(i)] for i, k in got) > 142
    t.delete_model()
    with pytest.raises(ClientError, match="Could not find model"):
        Model.get(built.model_name)


def create(job, m, data, out, **more):
    return TransformJob.create(
        transform_job_name=job,
        model_name=m,
        transform_input=TransformInput(
            data_source=TransformDataSource(s3_data_source=TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=data)),
            content_type="application/jsonlines", split_type="Line",
        ),
        transform_output=TransformOutput(s3_output_path=out, accept="application/jsonlines", assemble_with="Line"),
        transform_resources=TransformResources(**ON),
        **more,
    )


def test_resource():
    job, m, out = name("core"), model("sums.py"), f"s3://{bucket()}/{name('out')}"
    data = stored({"a.jsonl": '{"id": 1, "x": [1, 2]}\n{"id": 2, "x": [3, 4]}\n'})
    made = create(
        job, m, data, out, data_processing=DataProcessing(input_filter="$.x", join_source="Input", output_filter="$['id','SageMakerOutput']"),
        model_client_config=ModelClientConfig(invocations_timeout_in_seconds=60, invocations_max_retries=0), tags=[Tag(key="team", value="a b")],
    )
    assert made.transform_job_status == "InProgress"
    made.wait(poll=1, timeout=240)
    got = TransformJob.get(job)
    assert got.transform_job_status == "Completed" and got.transform_job_arn.endswith(f":transform-job/{job}")
    assert got.transform_input.data_source.s3_data_source.s3_uri == data and got.transform_resources.instance_count == 1
    answers = [json.loads(line) for line in objects(out)["a.jsonl.out"].splitlines()]
    assert answers == [{"id": 1, "SageMakerOutput": {"sum": 3, "of": 2}}, {"id": 2, "SageMakerOutput": {"sum": 7, "of": 2}}]
    assert [j.transform_job_name for j in TransformJob.get_all(name_contains=job, status_equals="Completed", sort_by="Name")] == [job]
    assert list(TransformJob.get_all(name_contains=job, status_equals="Failed")) == []
    with pytest.raises(ClientError, match="already exists"):
        create(job, m, data, out)
    with pytest.raises(ClientError, match="Could not find model"):
        create(name("core"), name("no"), data, out)
    with pytest.raises(ClientError) as missing:
        TransformJob.get(name("no"))
    assert missing.value.response["Error"]["Code"] == "ValidationException"


def test_resource_failure_and_stop():
    m, out = model("sums.py", BROKEN="of another model"), f"s3://{bucket()}/{name('out')}"
    data = stored({"a.jsonl": "[1]\n"})
    with pytest.raises(FailedStatusError, match="RuntimeError: the model's weights are of another model"):
        create(name("core"), m, data, out).wait(poll=1, timeout=240)
    job = create(name("core"), model("sums.py"), data, out)
    job.stop()
    job.wait(poll=1, timeout=240)
    assert job.refresh().transform_job_status == "Stopped"
