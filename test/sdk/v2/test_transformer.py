"""SageMaker Python SDK v2: transformers."""

import contextlib
import csv
import io
import json
import os
import time

import numpy as np
import pytest
from botocore.exceptions import ClientError
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.inputs import BatchDataCaptureConfig, TrainingInput
from sagemaker.model import Model
from sagemaker.pipeline import PipelineModel
from sagemaker.sklearn import SKLearn, SKLearnModel
from sagemaker.transformer import Transformer
from sagemaker.xgboost import XGBoost, XGBoostModel
from sklearn.datasets import load_breast_cancer, load_iris

from helpers import MODELS, PLAIN, ROLE, TRANSFORM, bucket, container, lines, model, name, objects, packed, stored, transformed

ON = dict(instance_count=1, instance_type="ml.m5.large")
LINES = dict(content_type="text/csv", split_type="Line")


def script(file):
    return os.path.join(MODELS, file)


def rows(x, **columns):
    """CSV of rows, with columns before them."""
    return "".join(",".join([*map(str, first), *map("{:g}".format, row)]) + "\n" for *first, row in zip(*columns.values(), x, strict=True))


def table(body):
    return list(csv.reader(io.StringIO(body.decode())))


def ends(transformer, data, **how):
    """Runs to the end, which the SDK would see at its next look only. Gives the
    description and what was stored."""
    transformer.transform(data, wait=False, logs=False, **LINES | how)
    d = transformed(transformer.latest_transform_job.name)
    return d, objects(d["TransformOutput"]["S3OutputPath"])


@pytest.fixture(scope="module")
def irises(session, train):
    """An estimator that has learned irises."""
    e = SKLearn(
        entry_point=script("irises.py"), framework_version="1.2-1", role=ROLE, sagemaker_session=session, base_job_name=name("v2"),
        tags=[{"Key": "team", "Value": "a b"}], **ON,
    )
    e.fit({"train": train}, logs="None")
    return e


@pytest.fixture(scope="module")
def scored(irises):
    """A job over a folder with everything, the transformer that made it, and
    what the SDK printed meanwhile."""
    x, y = load_iris(return_X_y=True)
    data = stored({f"garden-{k}/{k}.csv": rows(x[y == k], id=range(50), label=["?"] * 50) for k in range(3)})
    t = irises.transformer(
        **ON, strategy="MultiRecord", assemble_with="Line", accept="text/csv", max_payload=1, max_concurrent_transforms=2,
        env={"SAGEMAKER_MODEL_SERVER_WORKERS": "2"},
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        t.transform(
            data, **LINES, input_filter="$[2:]", join_source="Input", output_filter="$[0,-1]",
            model_client_config={"InvocationsTimeoutInSeconds": 120, "InvocationsMaxRetries": 2},
            experiment_config={"ExperimentName": "flowers", "TrialComponentDisplayName": "scoring"},
        )
    return t, out.getvalue()


def test_predictions_stand_beside_their_rows(scored, session):
    t, _ = scored
    job = t.latest_transform_job.name
    assert t.output_path == f"s3://{session.default_bucket()}/{job}"
    out = objects(t.output_path)
    assert sorted(out) == [f"garden-{k}/{k}.csv.out" for k in range(3)]
    right = 0
    for k in range(3):
        got = table(out[f"garden-{k}/{k}.csv.out"])
        assert [r[0] for r in got] == [str(i) for i in range(50)] and all(len(r) == 2 for r in got)
        right += sum(float(r[1]) == k for r in got)
    assert right > 142


def test_transform_shows_the_log(scored):
    t, said = scored
    assert "POST /invocations" in said or "rows" in said, said
    assert ":[sagemaker logs]: MaxConcurrentTransforms=2, MaxPayloadInMB=1, BatchStrategy=MULTI_RECORD" in "\n".join(
        lines(t.latest_transform_job.name, TRANSFORM))


def test_describe(scored, sm):
    t, _ = scored
    d = sm.describe_transform_job(TransformJobName=t.latest_transform_job.name)
    assert d["TransformJobStatus"] == "Completed" and "FailureReason" not in d
    assert (d["BatchStrategy"], d["MaxPayloadInMB"], d["MaxConcurrentTransforms"]) == ("MultiRecord", 1, 2)
    assert d["DataProcessing"] == {"InputFilter": "$[2:]", "OutputFilter": "$[0,-1]", "JoinSource": "Input"}
    assert d["ModelClientConfig"] == {"InvocationsTimeoutInSeconds": 120, "InvocationsMaxRetries": 2}
    assert d["ExperimentConfig"] == {"ExperimentName": "flowers", "TrialComponentDisplayName": "scoring"}
    assert d["Environment"] == {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
    assert sm.list_tags(ResourceArn=d["TransformJobArn"])["Tags"] == [{"Key": "team", "Value": "a b"}]


def test_attach(scored, session):
    t, _ = scored
    again = Transformer.attach(t.latest_transform_job.name, sagemaker_session=session)
    for member in ("model_name", "instance_count", "instance_type", "strategy", "assemble_with", "output_path", "accept",
                   "max_concurrent_transforms", "max_payload"):
        assert getattr(again, member) == getattr(t, member), member
    again.wait(logs=False)  # it has ended
    again.stop_transform_job(wait=False)  # and nothing is to be stopped: the SDK goes on


def test_again_and_the_same_name(scored, session):
    t, _ = scored
    job, out = t.latest_transform_job.name, t.output_path
    d, got = ends(t, stored({"a.csv": "1,?,5.1,3.5,1.4,0.2\n2,?,4.9,3,1.4,0.2\n"}), input_filter="$[2:]")
    assert got == {"a.csv.out": b"0\n0\n"}, d
    assert d["TransformJobName"] != job and d["TransformOutput"]["S3OutputPath"] != out  # a folder of its own for each
    with pytest.raises(ClientError, match="already exists") as twice:
        t.transform("s3://b/x", job_name=job, wait=False, **LINES)
    assert twice.value.response["Error"]["Code"] == "ResourceInUse"


def test_two_instances_and_capture(session):
    """A model of an artifact, whose script the SDK packs, without a network."""
    x, y = load_iris(return_X_y=True)
    kinds = {str(k): x[y == k].mean(axis=0).tolist() for k in range(3)}
    m = SKLearnModel(
        model_data=packed({"means.json": json.dumps(kinds).encode()}), role=ROLE, entry_point=script("nearest.py"), framework_version="1.2-1",
        sagemaker_session=session, model_server_workers=1, enable_network_isolation=True, name=name("v2"),
    )
    t = m.transformer(instance_count=2, instance_type="ml.m5.large", accept="application/json", assemble_with="Line")
    kept = f"s3://{bucket()}/{name('kept')}"
    data = stored({f"{k}.csv": rows(x[y == k][:20]) for k in range(3)})
    d, out = ends(t, data, batch_data_capture_config=BatchDataCaptureConfig(destination_s3_uri=kept))
    assert d["TransformJobStatus"] == "Completed", (d, lines(d["TransformJobName"], TRANSFORM))
    assert d["DataCaptureConfig"]["DestinationS3Uri"] == kept
    for k in range(3):
        assert json.loads(out[f"{k}.csv.out"])["irises"].count(str(k)) > 15
    halves = {key.split("/")[0] for key in objects(kept)}
    assert halves == {"input", "output"}, halves
    t.delete_model()
    with pytest.raises(ClientError, match="Could not find model"):
        session.sagemaker_client.describe_model(ModelName=m.name)


def test_pipeline_model(session):
    first, second = (
        Model(
            image_uri=PLAIN, model_data=container(file)["ModelDataUrl"], role=ROLE, sagemaker_session=session,
            env={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
        ) for file in ("inches.py", "sums.py"))
    m = PipelineModel(models=[first, second], role=ROLE, sagemaker_session=session, name=name("v2"))
    t = m.transformer(**ON, accept="text/csv", assemble_with="Line", strategy="SingleRecord", env={"TIMES": "100"})
    d, out = ends(t, stored({"a.csv": "1,2\n3,4\n"}))
    assert out == {"a.csv.out": b"762\n1778\n"}, (d, lines(d["TransformJobName"], TRANSFORM))
    m.delete_model()


@pytest.fixture(scope="module")
def tumours(session, tmp_path_factory):
    """Where rows to train with are, and rows to ask with beside their labels."""
    x, y = load_breast_cancer(return_X_y=True)
    folder = tmp_path_factory.mktemp("tumours")
    learn = np.arange(len(y)) % 4 != 0
    np.savetxt(folder / "train.csv", np.column_stack([y, x])[learn], delimiter=",", fmt="%g")
    uri = session.upload_data(str(folder / "train.csv"), key_prefix=name("tumours"))
    return TrainingInput(uri, content_type="text/csv"), x[~learn], y[~learn]


def test_xgboost_algorithm(session, tumours):
    """The built-in algorithm: one prediction a line, beside what it was made of."""
    data, x, y = tumours
    e = Estimator(
        image_uri=image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"), role=ROLE, sagemaker_session=session,
        base_job_name=name("v2"), hyperparameters={"objective": "binary:logistic", "num_round": 20, "nthread": 1}, **ON,
    )
    e.fit({"train": data}, logs="None")
    t = e.transformer(**ON, strategy="MultiRecord", assemble_with="Line", accept="text/csv", env={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})
    d, out = ends(t, stored({"a.csv": rows(x, label=y)}), input_filter="$[1:]", join_source="Input", output_filter="$[0,-1]")
    assert d["TransformJobStatus"] == "Completed", (d, lines(d["TransformJobName"], TRANSFORM))
    got = np.array(table(out["a.csv.out"]), dtype=float)
    assert got.shape == (len(y), 2) and (got[:, 0] == y).all() and ((got[:, 1] > 0.5) == y).mean() > 0.9
    wrong, none = ends(t, stored({"a.csv": "1,2,three\n"}))
    assert (wrong["TransformJobStatus"], none) == ("Failed", {}) and wrong["FailureReason"].startswith("ClientError: "), wrong


def test_xgboost_model(session, tumours):
    data, x, y = tumours
    e = XGBoost(
        entry_point=script("boost.py"), framework_version="1.7-1", role=ROLE, sagemaker_session=session, base_job_name=name("v2"), **ON)
    e.fit({"train": data}, logs="None")
    m = XGBoostModel(
        model_data=e.model_data, role=ROLE, entry_point=script("boost.py"), framework_version="1.7-1", sagemaker_session=session,
        model_server_workers=1, name=name("v2"),
    )
    d, out = ends(m.transformer(**ON, accept="text/csv", assemble_with="Line"), stored({"a.csv": rows(x)}))
    assert d["TransformJobStatus"] == "Completed", (d, lines(d["TransformJobName"], TRANSFORM))
    got = np.array(table(out["a.csv.out"]), dtype=float).ravel()
    assert len(got) == len(y) and ((got > 0.5) == y).mean() > 0.9


def transformer(session, **more):
    return Transformer(
        model("sums.py"), **ON, accept="text/csv", assemble_with="Line", sagemaker_session=session, base_transform_job_name=name("v2"), **more)


def test_failure_is_told(session):
    t = transformer(session, strategy="SingleRecord")
    with pytest.raises(UnexpectedStatusException) as failed:
        t.transform(stored({"a.csv": "1\nrefuse\n"}), logs=False, **LINES)
    assert failed.value.actual_status == "Failed"
    job = t.latest_transform_job.name
    assert str(failed.value).startswith(f"Error for Transform job {job}: Failed. Reason: ClientError: See job logs for more information"), failed.value
    assert any("no such flower" in x for x in lines(job, TRANSFORM))
    with pytest.raises(UnexpectedStatusException, match="ClientError"):
        Transformer.attach(job, sagemaker_session=session).wait()


def test_stop(session):
    t = transformer(session, strategy="SingleRecord")
    t.transform(stored({"a.csv": "1\n", "b.csv": "1\nsleep100\n"}), wait=False, **LINES)
    job = t.latest_transform_job.name
    deadline = time.monotonic() + 120
    while lines(job, TRANSFORM).count("rows 1") < 3:
        assert time.monotonic() < deadline, lines(job, TRANSFORM)
        time.sleep(0.2)
    t.stop_transform_job(wait=False)
    d = transformed(job)
    assert d["TransformJobStatus"] == "Stopped" and "FailureReason" not in d
    t.wait(logs=False)  # the SDK warns and goes on
    assert objects(t.output_path) == {"a.csv.out": b"1\n"}


def test_unknown_model(session):
    with pytest.raises(ValueError, match="Please ensure that the model exists"):
        Transformer(name("no"), **ON, sagemaker_session=session).transform("s3://b/x", wait=False)
