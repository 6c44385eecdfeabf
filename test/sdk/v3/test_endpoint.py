"""SageMaker Python SDK v3: ModelBuilder, and sagemaker-core's Model,
EndpointConfig and Endpoint."""

import json
import shutil

import boto3
import pytest
from botocore.exceptions import ClientError
from sagemaker.core import image_uris
from sagemaker.core.deserializers import JSONDeserializer
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.serializers import CSVSerializer
from sagemaker.core.shapes import ContainerDefinition, DesiredWeightAndCapacity, ProductionVariant
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sklearn.datasets import load_iris

from helpers import ENDPOINTS, MODELS, PLAIN, ROLE, lines, model, name


def test_model_builder(session, train, tmp_path):
    image = image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1")
    # A copy: the SDK takes no sources from below /root.
    source = SourceCode(source_dir=shutil.copytree(MODELS, str(tmp_path / "models")), entry_script="irises.py")
    trainer = ModelTrainer(
        training_image=image, source_code=source, compute=Compute(instance_type="ml.m5.large", instance_count=1), role=ROLE,
        sagemaker_session=session, base_job_name=name("v3"),
    )
    trainer.train(input_data_config=[InputData(channel_name="train", data_source=train)])
    job = TrainingJob.get(trainer._latest_training_job.training_job_name)

    builder = ModelBuilder(
        s3_model_data_url=job.model_artifacts.s3_model_artifacts, image_uri=image, source_code=source, instance_type="ml.m5.large", role_arn=ROLE,
        sagemaker_session=session, env_vars={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
    )
    built = builder.build(model_name=name("v3"))
    assert built.primary_container.environment["SAGEMAKER_SUBMIT_DIRECTORY"] == "/opt/ml/model/code"
    endpoint = builder.deploy(endpoint_name=name("v3"))
    assert endpoint.endpoint_status == "InService"
    rows, species = load_iris(return_X_y=True)
    answer = endpoint.invoke(body=CSVSerializer().serialize(rows), content_type="text/csv", accept="application/json")
    got = json.loads(answer.body.read())
    assert answer.invoked_production_variant == "AllTraffic" and sum(got == species) > 142
    endpoint.serializer, endpoint.deserializer = CSVSerializer(), JSONDeserializer()
    assert endpoint.invoke(body=rows[:2], content_type="text/csv", accept="application/json").body == [0, 0]

    endpoint.delete()
    endpoint.wait_for_delete(poll=1, timeout=120)
    EndpointConfig.get(endpoint.endpoint_config_name).delete()
    built.delete()
    with pytest.raises(ClientError, match="Could not find model"):
        Model.get(built.model_name)


def config(model_name, **more):
    v = ProductionVariant(variant_name="AllTraffic", model_name=model_name, initial_instance_count=1, instance_type="ml.m5.large", **more)
    return EndpointConfig.create(endpoint_config_name=name("core"), production_variants=[v])


def test_resources():
    first = Model.get(model(WHO="first"))
    second = Model.create(
        model_name=name("core"), execution_role_arn=ROLE, primary_container=ContainerDefinition(
            image=PLAIN, model_data_url=first.primary_container.model_data_url, environment={"WHO": "second"}))
    a, b = config(first.model_name), config(second.model_name, initial_variant_weight=0.5)
    e = Endpoint.create(endpoint_name=name("core"), endpoint_config_name=a)
    assert e.endpoint_status == "Creating"
    e.wait_for_status("InService", poll=1, timeout=240)
    assert e.endpoint_arn.endswith(f":endpoint/{e.endpoint_name}") and e.endpoint_config_name == a.endpoint_config_name
    assert json.loads(e.invoke(body="{}", content_type="application/json").body.read())["who"] == "first"

    e.endpoint_config_name = b.endpoint_config_name
    e.update()
    e.wait_for_status("InService", poll=1, timeout=240)
    answer = e.invoke(body="{}", content_type="application/json", target_variant="AllTraffic", inference_id="one")
    assert json.loads(answer.body.read()) | {"who": "second", "inference": "one"} == json.loads(
        e.invoke(body="{}", content_type="application/json", inference_id="one").body.read())
    assert [x.endpoint_name for x in Endpoint.get_all(name_contains=e.endpoint_name, status_equals="InService")] == [e.endpoint_name]
    with pytest.raises(ClientError, match=r"Received server error \(500\) from primary"):
        e.invoke(body='{"say": 1, "by": 0}', content_type="application/json")

    e.update_weights_and_capacities(desired_weights_and_capacities=[DesiredWeightAndCapacity(variant_name="AllTraffic", desired_instance_count=2)])
    e.wait_for_status("InService", poll=1, timeout=240)
    assert [v.current_instance_count for v in e.production_variants] == [2]
    e.delete()
    e.wait_for_delete(poll=1, timeout=120)
    for x in (a, b, first, second):
        x.delete()


def test_failure():
    e = Endpoint.create(endpoint_name=name("core"), endpoint_config_name=config(model(BROKEN="of another model")))
    with pytest.raises(FailedStatusError, match="RuntimeError: the model's weights are of another model"):
        e.wait_for_status("InService", poll=1, timeout=240)
    assert "RuntimeError: the model's weights are of another model" in lines("AllTraffic", ENDPOINTS + e.endpoint_name)
    e.delete()
    e.wait_for_delete(poll=1, timeout=120)
    with pytest.raises(ClientError, match=r"Could not find endpoint \""):
        boto3.client("sagemaker").describe_endpoint(EndpointName=e.endpoint_name)
