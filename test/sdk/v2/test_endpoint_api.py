"""boto3: models, endpoint configurations, endpoints and what they answer."""

import concurrent.futures
import datetime
import json
import re
import time

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from helpers import ENDPOINTS, PLAIN, ROLE, bucket, config, deploy, gone, lines, model, name, packed, served, undeploy, variant

SOON = {"Delay": 1, "MaxAttempts": 120}


@pytest.fixture(scope="module")
def runtime():
    return boto3.client("sagemaker-runtime")


@pytest.fixture(scope="module")
def pair():
    """An endpoint of two variants, one with three times the traffic of the other."""
    models = [model(WHO="blue"), model(WHO="green")]
    c = config(variant(models[0], "blue", InitialVariantWeight=3), variant(models[1], "green", InitialVariantWeight=1))
    e = deploy(c, Tags=[{"Key": "team", "Value": "a b"}])
    yield e, c, models
    undeploy(e)


def ask(runtime, endpoint, what=None, **more):
    r = runtime.invoke_endpoint(**{"EndpointName": endpoint, "Body": json.dumps(what or {}), "ContentType": "application/json", **more})
    return json.loads(r["Body"].read()) | {"variant": r["InvokedProductionVariant"]}


def refused(call, *args, **kwargs):
    with pytest.raises(ClientError) as e:
        call(*args, **kwargs)
    r = e.value.response
    return r["ResponseMetadata"]["HTTPStatusCode"], r["Error"]["Code"], r["Error"]["Message"]


def arn(kind, of):
    return f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/{of}"


def test_describe(pair, sm):
    e, c, models = pair
    d = sm.describe_endpoint(EndpointName=e)
    assert (d["EndpointStatus"], d["EndpointConfigName"], d["EndpointArn"]) == ("InService", c, arn("endpoint", e))
    assert "FailureReason" not in d and "PendingDeploymentSummary" not in d and d["CreationTime"] <= d["LastModifiedTime"]
    got = [{k: v[k] for k in ("VariantName", "CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount")}
           for v in d["ProductionVariants"]]
    assert [list(v.values()) for v in got] == [["blue", 3, 3, 1, 1], ["green", 1, 1, 1, 1]]
    image = d["ProductionVariants"][0]["DeployedImages"][0]
    assert image["SpecifiedImage"] == PLAIN and image["ResolvedImage"] and image["ResolutionTime"]
    assert sm.list_tags(ResourceArn=d["EndpointArn"])["Tags"] == [{"Key": "team", "Value": "a b"}]

    d = sm.describe_endpoint_config(EndpointConfigName=c)
    assert d["EndpointConfigArn"] == arn("endpoint-config", c)
    assert [(v["ModelName"], v["InstanceType"]) for v in d["ProductionVariants"]] == [(m, "ml.m5.large") for m in models]
    d = sm.describe_model(ModelName=models[0])
    assert (d["ModelArn"], d["ExecutionRoleArn"], d["EnableNetworkIsolation"]) == (arn("model", models[0]), ROLE, False)
    assert d["PrimaryContainer"]["Image"] == PLAIN and d["PrimaryContainer"]["Environment"]["WHO"] == "blue"


def test_lists(pair, sm):
    e, c, models = pair
    assert [x["EndpointName"] for x in sm.list_endpoints(NameContains=e.upper(), StatusEquals="InService")["Endpoints"]] == [e]
    assert sm.list_endpoints(NameContains=e, StatusEquals="Failed")["Endpoints"] == []
    assert [x["EndpointConfigName"] for x in sm.list_endpoint_configs(NameContains=c)["EndpointConfigs"]] == [c]
    pages = sm.get_paginator("list_models").paginate(PaginationConfig={"PageSize": 1, "MaxItems": 3}, SortBy="CreationTime", SortOrder="Descending")
    assert len([x["ModelName"] for p in pages for x in p["Models"]]) >= 2
    assert [x["ModelArn"] for x in sm.list_models(NameContains=models[0])["Models"]] == [arn("model", models[0])]


def test_invoke(pair, runtime):
    e = pair[0]
    r = runtime.invoke_endpoint(
        EndpointName=e, Body=b'{"a": "\xc3\xbc"}', ContentType="application/json", Accept="application/x-mine", CustomAttributes="trace=7",
        InferenceId="one", TargetVariant="green",
    )
    assert (r["ContentType"], r["InvokedProductionVariant"]) == ("application/x-mine", "green")
    assert json.loads(r["Body"].read()) == {
        "who": "green", "asked": {"a": "ü"}, "type": "application/json", "accept": "application/x-mine", "attributes": "trace=7",
        "inference": "one", "said": None,
    }
    body = bytes(range(256)) * 20_000  # 5 MB
    r = runtime.invoke_endpoint(EndpointName=e, Body=body, ContentType="application/octet-stream")
    assert r["Body"].read() == body
    status, code, text = refused(runtime.invoke_endpoint, EndpointName=e, Body=b"x" * (6 << 20) + b"x")
    assert (status, code) == (400, "ValidationError") and "less than or equal to 6291456" in text


def test_traffic_by_weight(pair, runtime):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: ask(runtime, pair[0]), range(200)))
    assert all(x["who"] == x["variant"] for x in got)
    blue = sum(x["who"] == "blue" for x in got)
    assert 115 < blue < 185, blue  # 150 of 200; further off once in 10^7 runs
    assert {ask(runtime, pair[0], TargetVariant=v)["who"] for v in ("blue", "green")} == {"blue", "green"}


def test_response_stream(pair, runtime):
    body = b"0123456789" * 30_000
    r = runtime.invoke_endpoint_with_response_stream(
        EndpointName=pair[0], Body=body, ContentType="application/octet-stream", TargetVariant="blue")
    assert (r["ContentType"], r["InvokedProductionVariant"]) == ("application/octet-stream", "blue")
    assert b"".join(x["PayloadPart"]["Bytes"] for x in r["Body"]) == body


def test_model_errors(pair, runtime):
    e = pair[0]

    def failed(what):
        with pytest.raises(runtime.exceptions.ModelError) as x:
            ask(runtime, e, what, TargetVariant="blue")
        return x.value.response

    r = failed({"refuse": "no such flower"})
    group = ENDPOINTS + e
    assert r["ResponseMetadata"]["HTTPStatusCode"] == 424 and r["OriginalStatusCode"] == 400
    assert r["OriginalMessage"].startswith("no such flower")
    assert r["LogStreamArn"] == f"arn:aws:logs:us-east-1:123456789012:log-group:{group}"
    assert r["Error"]["Message"].startswith('Received client error (400) from primary with message "no such flower')
    assert r["Error"]["Message"].endswith(
        f'". See https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logEventViewer:group={group} '
        "in account 123456789012 for more information.")
    r = failed({"say": 1, "by": 0})
    assert r["OriginalStatusCode"] == 500 and "ZeroDivisionError: division by zero" in r["OriginalMessage"]
    assert r["Error"]["Message"].startswith("Received server error (500) from primary with message")
    deadline = time.monotonic() + 30
    while not any("ZeroDivisionError: division by zero" in x for x in lines("blue", group)):
        assert time.monotonic() < deadline, lines("blue", group)
        time.sleep(0.2)


def test_logs(pair, runtime):
    e, said = pair[0], name("said")
    ask(runtime, e, {"print": said}, TargetVariant="green")
    logs, group = boto3.client("logs"), ENDPOINTS + pair[0]
    deadline = time.monotonic() + 30
    while said not in lines("green", group):
        assert time.monotonic() < deadline, lines("green", group)
        time.sleep(0.2)
    assert said not in lines("blue", group)
    assert "loaded from ['code']" in lines("green", group)
    streams = [s["logStreamName"] for s in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    assert len(streams) == 2 and all(re.fullmatch("(blue|green)/i-[0-9a-f]{17}", s) for s in streams), streams


def test_metrics(pair, runtime):
    cw = boto3.client("cloudwatch")
    now = datetime.datetime.now(datetime.timezone.utc)

    def total(metric, stat="Sum"):
        points = cw.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=metric, Period=3600, Statistics=[stat],
            Dimensions=[{"Name": "EndpointName", "Value": pair[0]}, {"Name": "VariantName", "Value": "blue"}],
            StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(hours=1),
        )["Datapoints"]
        return sum(p[stat] for p in points)

    # What other tests asked is put a quarter of a second later.
    was = -1
    while was != total("Invocations"):
        was = total("Invocations")
        time.sleep(2)
    before = {m: total(m) for m in ("Invocations", "InvocationModelErrors", "Invocation4XXErrors", "ModelLatency")}
    for _ in range(3):
        ask(runtime, pair[0], {"sleep": 0.1}, TargetVariant="blue")
    refused(ask, runtime, pair[0], {"refuse": "no"}, TargetVariant="blue")
    deadline = time.monotonic() + 60
    while total("Invocations") < before["Invocations"] + 4:
        assert time.monotonic() < deadline, total("Invocations")
        time.sleep(0.2)
    assert total("Invocations") == before["Invocations"] + 4
    for m in ("InvocationModelErrors", "Invocation4XXErrors"):
        assert total(m) == before[m] + 1
    assert 300_000 <= total("ModelLatency") - before["ModelLatency"] < 5_000_000  # microseconds
    assert total("OverheadLatency", "Minimum") > 0


def test_wrong_names(pair, sm, runtime):
    e, c, models = pair
    no = name("no")
    assert refused(runtime.invoke_endpoint, EndpointName=no, Body=b"") == (400, "ValidationError", f"Endpoint {no} of account 123456789012 not found.")
    assert refused(runtime.invoke_endpoint_with_response_stream, EndpointName=no, Body=b"")[:2] == (400, "ValidationError")
    assert refused(runtime.invoke_endpoint, EndpointName=e, Body=b"", TargetVariant="red")[:2] == (400, "ValidationError")
    for call, member, text in (
        (sm.describe_endpoint, "EndpointName", f'Could not find endpoint "{arn("endpoint", no)}".'),
        (sm.delete_endpoint, "EndpointName", f'Could not find endpoint "{arn("endpoint", no)}".'),
        (sm.describe_endpoint_config, "EndpointConfigName", f'Could not find endpoint configuration "{arn("endpoint-config", no)}".'),
        (sm.delete_endpoint_config, "EndpointConfigName", f'Could not find endpoint configuration "{arn("endpoint-config", no)}".'),
        (sm.describe_model, "ModelName", f'Could not find model "{arn("model", no)}".'),
        (sm.delete_model, "ModelName", f'Could not find model "{arn("model", no)}".'),
    ):
        assert refused(call, **{member: no}) == (400, "ValidationException", text)
    text = f'Could not find endpoint configuration "{arn("endpoint-config", no)}".'
    assert refused(sm.create_endpoint, EndpointName=no, EndpointConfigName=no) == (400, "ValidationException", text)
    assert refused(sm.update_endpoint, EndpointName=e, EndpointConfigName=no) == (400, "ValidationException", text)
    assert refused(config, variant(no)) == (400, "ValidationException", f'Could not find model "{arn("model", no)}".')
    for call, kind, of in (
        (lambda: sm.create_endpoint(EndpointName=e, EndpointConfigName=c), "endpoint", e),
        (lambda: sm.create_endpoint_config(EndpointConfigName=c, ProductionVariants=[variant(models[0])]), "endpoint configuration", c),
        (lambda: sm.create_model(ModelName=models[0], ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PLAIN}), "model", models[0]),
    ):
        text = f'Cannot create already existing {kind} "{arn(kind.replace(" configuration", "-config"), of)}".'
        assert refused(call) == (400, "ValidationException", text)
    weights = [{"VariantName": "red", "DesiredWeight": 1}]
    assert refused(sm.update_endpoint_weights_and_capacities, EndpointName=e, DesiredWeightsAndCapacities=weights)[1] == "ValidationException"
    for more in ({"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}, {"ManagedInstanceScaling": {"Status": "ENABLED"}}):
        status, code, text = refused(config, variant(models[0], **more))
        assert (status, code) == (400, "ValidationException") and next(iter(more)) in text


def test_weights_and_capacities(sm, runtime):
    m = model()
    c = config(variant(m, "a"), variant(m, "b"))
    e = deploy(c)
    sm.update_endpoint_weights_and_capacities(EndpointName=e, DesiredWeightsAndCapacities=[
        {"VariantName": "a", "DesiredWeight": 0}, {"VariantName": "b", "DesiredWeight": 2, "DesiredInstanceCount": 2}])
    text = refused(sm.update_endpoint, EndpointName=e, EndpointConfigName=c)[2]
    assert text == f'Cannot update in-progress endpoint "{arn("endpoint", e)}".'
    d = served(e)
    got = [(v["VariantName"], v["CurrentWeight"], v["DesiredWeight"], v["CurrentInstanceCount"]) for v in d["ProductionVariants"]]
    assert got == [("a", 0, 0, 1), ("b", 2, 2, 2)]
    assert {ask(runtime, e)["variant"] for _ in range(20)} == {"b"}
    assert ask(runtime, e, TargetVariant="a")["variant"] == "a"
    undeploy(e)


def test_failed_creation(sm, runtime):
    """It stays, with the reason, until it is deleted."""
    e = name("failed")
    sm.create_endpoint(EndpointName=e, EndpointConfigName=config(variant(model(BROKEN="of another model"), "only")))
    served(e, ("Failed",))
    with pytest.raises(WaiterError, match="Failed"):
        sm.get_waiter("endpoint_in_service").wait(EndpointName=e, WaiterConfig=SOON)
    d = sm.describe_endpoint(EndpointName=e)
    assert d["FailureReason"].startswith("The primary container for production variant only did not pass the ping health check.")
    assert "RuntimeError: the model's weights are of another model" in d["FailureReason"]
    assert "Traceback (most recent call last):" in lines("only", ENDPOINTS + e)
    assert refused(runtime.invoke_endpoint, EndpointName=e, Body=b"")[:2] == (400, "ValidationError")
    assert "Cannot update failed endpoint" in refused(sm.update_endpoint, EndpointName=e, EndpointConfigName=d["EndpointConfigName"])[2]
    undeploy(e)

    b, m, e = bucket(), name("model"), name("failed")
    missing = f"s3://{b}/{name('no')}/model.tar.gz"
    sm.create_model(ModelName=m, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PLAIN, "ModelDataUrl": missing})
    sm.create_endpoint(EndpointName=e, EndpointConfigName=config(variant(m)))
    d = served(e, ("Failed",))
    assert d["FailureReason"].startswith(f'Failed to download model data for container "primary" from URL: "{missing}".'), d["FailureReason"]
    undeploy(e)


def test_failed_update_is_rolled_back(sm, runtime):
    c = config(variant(model(WHO="old")))
    e = deploy(c)
    sm.update_endpoint(EndpointName=e, EndpointConfigName=config(variant(model(BROKEN="lost"))))
    asked = 0
    while (d := sm.describe_endpoint(EndpointName=e))["EndpointStatus"] in ("Updating", "RollingBack"):
        assert ask(runtime, e)["who"] == "old"
        asked += 1
    assert asked and (d["EndpointStatus"], d["EndpointConfigName"]) == ("InService", c)
    assert "RuntimeError: the model's weights are lost" in d["FailureReason"]
    assert ask(runtime, e)["who"] == "old"
    undeploy(e)


def test_update_under_load(sm, runtime):
    """All at once, and no request meets neither or a half of both."""
    e = deploy(config(variant(model(WHO="old"), InitialInstanceCount=2)))
    sm.update_endpoint(EndpointName=e, EndpointConfigName=config(variant(model(WHO="new"))))
    state = {"InService": False}

    def load(_):
        got = []
        while not state["InService"]:
            got.append(ask(runtime, e, {"sleep": 0.01})["who"])
        return got

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, i) for i in range(4)]
        try:
            served(e)
        finally:
            state["InService"] = True
        got = [x.result() for x in loads]
    for one in got:
        assert one == sorted(one, reverse=True), one  # first the old ones, then the new
    assert ask(runtime, e)["who"] == "new" and {who for one in got for who in one} >= {"old"}
    undeploy(e)


def test_data_source_and_waiters(sm, runtime, s3):
    """A model that is objects under a prefix, with more data beside it."""
    b, prefix = bucket(), name("plain")
    script = b"""
import os
def model_fn(folder):
    with open(os.path.join(folder, "weights", "w")) as w, open("/opt/ml/additional-model-data-sources/more/x/y") as y:
        return w.read() + y.read()
def transform_fn(model, content, content_type, accept):
    return model, "text/plain"
"""
    for key, body in (("model/code/inference.py", script), ("model/weights/w", b"weights"), ("more/x/y", b" and more")):
        s3.put_object(Bucket=b, Key=f"{prefix}/{key}", Body=body)

    def source(folder):
        return {"S3Uri": f"s3://{b}/{prefix}/{folder}/", "S3DataType": "S3Prefix", "CompressionType": "None"}

    m, e = name("model"), name("endpoint")
    sm.create_model(ModelName=m, ExecutionRoleArn=ROLE, EnableNetworkIsolation=True, PrimaryContainer={
        "Image": PLAIN, "ContainerHostname": "host", "ModelDataSource": {"S3DataSource": source("model")},
        "AdditionalModelDataSources": [{"ChannelName": "more", "S3DataSource": source("more")}],
    })
    sm.create_endpoint(EndpointName=e, EndpointConfigName=config(variant(m)))
    sm.get_waiter("endpoint_in_service").wait(EndpointName=e, WaiterConfig=SOON)
    assert runtime.invoke_endpoint(EndpointName=e, Body=b"{}")["Body"].read() == b"weights and more"
    sm.delete_model(ModelName=m)
    sm.delete_endpoint(EndpointName=e)
    assert refused(runtime.invoke_endpoint, EndpointName=e, Body=b"")[1] == "ValidationError"
    gone(e)


def test_a_name_again(sm, runtime):
    """A deleted endpoint's name is free, and nothing of the old one answers."""
    e = deploy(config(variant(model(WHO="first"))))
    undeploy(e)
    sm.create_endpoint(EndpointName=e, EndpointConfigName=config(variant(model(WHO="second"))))
    served(e)
    assert ask(runtime, e)["who"] == "second"
    undeploy(e)


def test_image_without_a_server(sm):
    m, e = name("model"), name("endpoint")
    sm.create_model(ModelName=m, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": PLAIN, "ModelDataUrl": packed({"weights": b"w"})})
    sm.create_endpoint(EndpointName=e, EndpointConfigName=config(variant(m)))
    d = served(e, ("Failed",))
    assert "put code/inference.py into model.tar.gz" in d["FailureReason"], d
    undeploy(e)
