"""SageMaker Python SDK v2: models that answer, from `deploy` to `delete`."""

import json
import os
import time

import numpy as np
import pytest
from botocore.exceptions import ClientError
from sagemaker import image_uris
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_monitor import DataCaptureConfig
from sagemaker.pipeline import PipelineModel
from sagemaker.predictor import Predictor
from sagemaker.s3 import S3Downloader
from sagemaker.serializers import CSVSerializer, JSONSerializer, LibSVMSerializer
from sagemaker.sklearn import SKLearn, SKLearnModel
from sagemaker.xgboost import XGBoost
from sklearn.datasets import load_breast_cancer, load_iris

from helpers import ENDPOINTS, MODELS, PLAIN, ROLE, gone, lines, name, packed, served, undeploy

ON = dict(initial_instance_count=1, instance_type="ml.m5.large")
ONE = dict(instance_count=1, instance_type="ml.m5.large")
WORKERS = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}


@pytest.fixture
def endpoints():
    """The names of endpoints, which are deleted in the end: they would cost."""
    names = []
    yield names
    for e in names:
        undeploy(e)


def script(file):
    return os.path.join(MODELS, file)


def captured(session, uri, wanted, within=60):
    """What was captured below an S3 URI, once as many requests are there."""
    deadline = time.monotonic() + within
    while True:
        files = S3Downloader.list(uri, sagemaker_session=session)
        out = [json.loads(x) for f in files for x in S3Downloader.read_file(f, sagemaker_session=session).splitlines()]
        if len(out) >= wanted:
            return files, out
        assert time.monotonic() < deadline, f"{len(out)} of {wanted} requests were captured"
        time.sleep(0.5)


def test_from_fit_to_delete(session, train, sm, capfd):
    """All that an estimator's endpoint goes through, with the image's own
    functions for what goes in and out."""
    rows, species = load_iris(return_X_y=True)
    kept = f"s3://{session.default_bucket()}/{name('captured')}"
    e = SKLearn(
        entry_point=script("irises.py"), framework_version="1.2-1", instance_type="ml.m5.large", role=ROLE,
        sagemaker_session=session, base_job_name=name("v2"),
    )
    e.fit({"train": train}, logs="None")
    capture = DataCaptureConfig(enable_capture=True, sampling_percentage=100, destination_s3_uri=kept, sagemaker_session=session)
    capfd.readouterr()
    p = e.deploy(**ON, model_server_workers=1, data_capture_config=capture, tags=[{"Key": "team", "Value": "a b"}])
    assert capfd.readouterr().out.strip("-") == "!"
    d = sm.describe_endpoint(EndpointName=p.endpoint_name)
    assert d["EndpointStatus"] == "InService" and d["ProductionVariants"][0]["VariantName"] == "AllTraffic"
    assert d["DataCaptureConfig"] == {
        "EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 100, "DestinationS3Uri": kept, "KmsKeyId": ""}
    assert sm.list_tags(ResourceArn=d["EndpointArn"])["Tags"] == [{"Key": "team", "Value": "a b"}]

    answer = p.predict(rows, inference_id="all", custom_attributes="trace=7")  # as NPY, both ways
    assert isinstance(answer, np.ndarray) and (answer == species).mean() > 0.95
    p.serializer, p.deserializer = CSVSerializer(), CSVDeserializer()
    np.testing.assert_array_equal(np.array(p.predict(rows), dtype=int).ravel(), answer)
    assert p.predict(rows[:2], inference_id="two") == [["0"], ["0"]]
    p.serializer, p.deserializer = JSONSerializer(), JSONDeserializer()
    np.testing.assert_array_equal(p.predict(rows), answer)
    with pytest.raises(ClientError, match="Received server error \\(500\\) from primary with message") as failed:
        p.predict([[1, 2]])
    assert failed.value.response["Error"]["Code"] == "ModelError"
    assert "X has 2 features" in failed.value.response["OriginalMessage"]

    files, seen = captured(session, kept, 4)
    assert all(f.startswith(f"{kept}/{p.endpoint_name}/AllTraffic/20") and f.endswith(".jsonl") for f in files)
    seen = {x["eventMetadata"].get("inferenceId"): x for x in seen}
    got = seen["two"]["captureData"]
    asked = "5.1,3.5,1.4,0.2\n4.9,3.0,1.4,0.2"
    assert got["endpointInput"] == {"observedContentType": "text/csv", "mode": "INPUT", "data": asked, "encoding": "CSV"}
    assert (got["endpointOutput"]["data"], got["endpointOutput"]["encoding"]) == ("0\n0\n", "CSV")
    assert seen["all"]["captureData"]["endpointInput"]["encoding"] == "BASE64"
    assert seen["all"]["eventMetadata"]["customAttributes"] == ["trace=7"]

    p.update_endpoint(initial_instance_count=1, instance_type="ml.m5.xlarge", wait=False)
    asked = 0
    while (now := sm.describe_endpoint(EndpointName=p.endpoint_name))["EndpointStatus"] == "Updating":
        assert p.predict(rows[:1]) == [0]  # what was there answers on
        asked += 1
    assert asked and now["EndpointStatus"] == "InService" and now["EndpointConfigName"] != d["EndpointConfigName"], now
    assert now["DataCaptureConfig"] == d["DataCaptureConfig"]
    c = sm.describe_endpoint_config(EndpointConfigName=now["EndpointConfigName"])
    assert c["ProductionVariants"][0]["InstanceType"] == "ml.m5.xlarge"
    assert sm.list_tags(ResourceArn=c["EndpointConfigArn"])["Tags"] == [{"Key": "team", "Value": "a b"}]
    assert p.predict(rows[:1]) == [0]

    p.delete_model()
    assert p.predict(rows[:1]) == [0]  # it has what it was made of
    p.delete_endpoint()
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sm.describe_endpoint_config(EndpointConfigName=now["EndpointConfigName"])
    gone(p.endpoint_name)
    with pytest.raises(ClientError, match=f"Endpoint {p.endpoint_name} of account 123456789012 not found\\."):
        p.predict(rows[:1])


def means():
    """A model: the mean of each kind of iris, and what the nearest of them is
    for rows in centimetres."""
    x, y = load_iris(return_X_y=True)
    kinds = dict(zip(load_iris()["target_names"].tolist(), (x[y == k].mean(axis=0).tolist() for k in range(3)), strict=True))

    def nearest(rows):
        return [min(kinds, key=lambda k: ((np.array(row) - kinds[k]) ** 2).sum()) for row in rows]

    return packed({"means.json": json.dumps(kinds).encode()}), x, nearest


def test_model_of_an_artifact(session, endpoints):
    """A model without a way to the network: the SDK packs the script with it."""
    data, rows, nearest = means()
    m = SKLearnModel(
        model_data=data, role=ROLE, entry_point=script("nearest.py"), framework_version="1.2-1", sagemaker_session=session,
        env={"NOTE": "it's \"quoted\" $HOME"}, model_server_workers=1, enable_network_isolation=True, name=name("v2"),
    )
    p = m.deploy(**ON, wait=False, serializer=CSVSerializer(), deserializer=JSONDeserializer())
    endpoints.append(p.endpoint_name)
    served(p.endpoint_name)
    assert p.predict(rows[::10]) == {"irises": nearest(rows[::10]), "note": "it's \"quoted\" $HOME"}
    p.serializer = JSONSerializer()
    assert p.predict([rows[0].tolist()])["irises"] == ["setosa"]
    assert b"".join(p.predict_stream([rows[149].tolist()])) == b'{"irises": ["virginica"], "note": "it\'s \\"quoted\\" $HOME"}'


def test_pipeline_model(session, sm, endpoints, tmp_path):
    """Two containers, of different images: the first makes for the second what
    that understands."""
    data, rows, nearest = means()
    for file in ("nearest.py", "inches.py"):
        (tmp_path / file).mkdir()
        with open(script(file)) as f:
            (tmp_path / file / file).write_text(f.read())
    (tmp_path / "nearest.py" / "requirements.txt").write_text("iniconfig==2.3.0\n")
    with open(tmp_path / "nearest.py" / "nearest.py", "a") as f:
        f.write("\nimport iniconfig\nprint('has', iniconfig.__name__, flush=True)\n")
    first = Model(
        image_uri=PLAIN, model_data=packed({}), role=ROLE, entry_point="inches.py", source_dir=str(tmp_path / "inches.py"), env=WORKERS,
        sagemaker_session=session,
    )
    second = SKLearnModel(
        model_data=data, role=ROLE, entry_point="nearest.py", source_dir=str(tmp_path / "nearest.py"), framework_version="1.2-1",
        model_server_workers=1, sagemaker_session=session,
    )
    m = PipelineModel(models=[first, second], role=ROLE, predictor_cls=Predictor, sagemaker_session=session, name=name("v2"))
    p = m.deploy(**ON, wait=False, serializer=CSVSerializer(), deserializer=JSONDeserializer())
    endpoints.append(p.endpoint_name)
    served(p.endpoint_name)
    assert len(sm.describe_model(ModelName=m.name)["Containers"]) == 2
    assert p.predict(rows[::10] / 2.54, initial_args={"Accept": "application/json"})["irises"] == nearest(rows[::10])
    for bad, who in (("1,two,3,4", "container-1"), ("1,2,3", "container-2")):
        with pytest.raises(ClientError, match=rf"Received server error \(500\) from {who} with message"):
            p.predict(bad, initial_args={"Accept": "application/json"})
    group = ENDPOINTS + p.endpoint_name
    streams = session.boto_session.client("logs").describe_log_streams(logGroupName=group)["logStreams"]
    instance = {s["logStreamName"].rsplit("/", 1)[0] for s in streams}
    assert len(instance) == 1 and instance.pop().startswith("AllTraffic/i-")
    assert sorted(s["logStreamName"].rsplit("/", 1)[1] for s in streams) == ["container-1", "container-2"]
    assert "has iniconfig" in lines("AllTraffic", group)


def test_failed_deploy(session, sm, endpoints, tmp_path):
    """The SDK's user reads why."""
    (tmp_path / "broken.py").write_text("def model_fn(model_dir):\n    raise RuntimeError('the weights are of another model')\n")
    m = SKLearnModel(
        model_data=packed({}), role=ROLE, entry_point=str(tmp_path / "broken.py"), framework_version="1.2-1", model_server_workers=1,
        sagemaker_session=session, name=name("v2"),
    )
    p = m.deploy(**ON, wait=False)
    endpoints.append(p.endpoint_name)
    with pytest.raises(UnexpectedStatusException, match="RuntimeError: the weights are of another model") as failed:
        session.wait_for_endpoint(p.endpoint_name, poll=1)
    assert failed.value.actual_status == "Failed"
    assert "did not pass the ping health check" in str(failed.value)
    assert any("RuntimeError: the weights are of another model" in x for x in lines("AllTraffic", ENDPOINTS + p.endpoint_name))


@pytest.fixture(scope="module")
def tumours(session, tmp_path_factory):
    """Where rows to train with are, and rows to ask with beside their labels."""
    x, y = load_breast_cancer(return_X_y=True)
    folder = tmp_path_factory.mktemp("tumours")
    learn = np.arange(len(y)) % 4 != 0
    np.savetxt(folder / "train.csv", np.column_stack([y, x])[learn], delimiter=",", fmt="%g")
    uri = session.upload_data(str(folder / "train.csv"), key_prefix=name("tumours"))
    return TrainingInput(uri, content_type="text/csv"), x[~learn], y[~learn]


def good(answer, labels):
    p = np.array(answer, dtype=float).ravel()
    return len(p) == len(labels) and ((p > 0.5) == labels).mean() > 0.9


def libsvm(rows):
    return "\n".join(" ".join(f"{i}:{v:g}" for i, v in enumerate(row)) for row in rows)


def test_xgboost_script(session, tumours, endpoints):
    data, rows, labels = tumours
    e = XGBoost(
        entry_point=script("boost.py"), framework_version="1.7-1", **ONE, role=ROLE, sagemaker_session=session, base_job_name=name("v2"))
    e.fit({"train": data}, logs="None")
    p = e.deploy(**ON, wait=False, model_server_workers=1)
    endpoints.append(p.endpoint_name)
    served(p.endpoint_name)
    p.serializer = LibSVMSerializer()
    answer = p.predict(libsvm(rows))
    assert good(answer, labels), answer
    p.serializer = CSVSerializer()
    np.testing.assert_allclose(np.array(p.predict(rows), dtype=float), np.array(answer, dtype=float), atol=1e-4)


def test_xgboost_algorithm(session, tumours, sm, endpoints):
    """The built-in algorithm: neither training nor serving has a script."""
    data, rows, labels = tumours
    e = Estimator(
        image_uri=image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"), **ONE, role=ROLE, sagemaker_session=session,
        base_job_name=name("v2"), hyperparameters={"objective": "binary:logistic", "num_round": 20, "nthread": 1, "eval_metric": "error"},
    )
    e.fit({"train": data, "validation": data}, logs="None")
    job = e.latest_training_job.name
    final = {m["MetricName"]: m["Value"] for m in sm.describe_training_job(TrainingJobName=job).get("FinalMetricDataList", [])}
    assert final.get("validation:error", 0) < 0.05, final
    p = e.deploy(**ON, wait=False, serializer=CSVSerializer(), deserializer=CSVDeserializer(), env=WORKERS)
    endpoints.append(p.endpoint_name)
    served(p.endpoint_name)
    answer = p.predict(rows)
    assert len(answer) == 1 and good(answer, labels), answer
    p.serializer, p.deserializer = LibSVMSerializer(), JSONDeserializer()
    np.testing.assert_allclose(p.predict(libsvm(rows)), np.array(answer[0], dtype=float), atol=1e-4)
    with pytest.raises(ClientError, match=r"Received client error \(400\) from primary with message") as failed:
        p.predict("0:1 77:3")
    assert "Feature size of libsvm inference data" in failed.value.response["OriginalMessage"]
