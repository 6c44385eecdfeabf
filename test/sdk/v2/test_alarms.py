"""boto3: CloudWatch alarms on metrics of one's own and on what the account costs."""

import datetime
import json
import time

import boto3
import pytest
from alerts import ACCOUNT, Receiver
from botocore.exceptions import ClientError
from helpers import name, run

ARN = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:"


@pytest.fixture(scope="module")
def cw():
    return boto3.client("cloudwatch")


@pytest.fixture
def alarm(cw):
    """Makes alarms, and leaves none behind."""
    made = []

    def make(**more):
        a = {
            "AlarmName": name("alarm"), "Namespace": name("Space"), "MetricName": "m", "Statistic": "Maximum", "Period": 60, "EvaluationPeriods": 1,
            "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold", **more}
        cw.put_metric_alarm(**{k: v for k, v in a.items() if v is not None})
        made.append(a["AlarmName"])
        return a

    yield make
    if left := [a["AlarmName"] for a in cw.describe_alarms(AlarmNames=made)["MetricAlarms"]]:
        cw.delete_alarms(AlarmNames=left)


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


@pytest.fixture
def topic(receiver):
    sns = boto3.client("sns")
    arn = sns.create_topic(Name=name("topic"))["TopicArn"]
    receiver.subscribe(arn)
    yield arn
    sns.delete_topic(TopicArn=arn)


def described(cw, n):
    (a,) = cw.describe_alarms(AlarmNames=[n])["MetricAlarms"]
    return a


def until(cw, n, state, within=90):
    deadline = time.monotonic() + within
    while (a := described(cw, n))["StateValue"] != state:
        assert time.monotonic() < deadline, (a["StateValue"], a["StateReason"], history(cw, n))
        time.sleep(0.5)
    return a


def refused(call, code, text="", **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response["Error"]
    assert (e["Code"], text in e["Message"]) == (code, True), e


def history(cw, n, **more):
    pages = cw.get_paginator("describe_alarm_history").paginate(AlarmName=n, PaginationConfig={"PageSize": 2}, **more)
    return [i for p in pages for i in p["AlarmHistoryItems"]]


def test_states(cw, alarm, topic, receiver):
    dims = [{"Name": "Job", "Value": "x"}]
    a = alarm(AlarmDescription="of a test", Dimensions=dims, AlarmActions=[topic], OKActions=[topic], Unit="Count")
    n = a["AlarmName"]
    d = described(cw, n)
    assert (d["AlarmArn"], d["StateValue"], d["StateReason"], d["ActionsEnabled"]) == (ARN + n, "INSUFFICIENT_DATA", "Unchecked: Initial alarm creation", True)
    assert {k: d[k] for k in a} == a

    now = datetime.datetime.now(datetime.timezone.utc)

    def put(value, minutes_ago):
        at = now - datetime.timedelta(minutes=minutes_ago)
        cw.put_metric_data(Namespace=a["Namespace"], MetricData=[{"MetricName": "m", "Dimensions": dims, "Timestamp": at, "Value": value, "Unit": "Count"}])

    put(6.5, 2)
    d = until(cw, n, "ALARM")
    assert d["StateReason"].startswith("Threshold Crossed: 1 ") and "[6.5 (" in d["StateReason"] and "greater than the threshold (5.0)" in d["StateReason"], d
    data = json.loads(d["StateReasonData"])
    assert (data["version"], data["recentDatapoints"], data["threshold"], data["period"]) == ("1.0", [6.5], 5.0, 60)

    m = receiver.message(wanted=lambda m: m["Subject"].startswith("ALARM: "))
    assert (m["Subject"], m["TopicArn"]) == (f'ALARM: "{n}" in US East (N. Virginia)', topic)
    told = json.loads(m["Message"])
    assert told.items() >= {
        "AlarmName": n, "AlarmDescription": "of a test", "AWSAccountId": ACCOUNT, "AlarmArn": ARN + n, "NewStateValue": "ALARM",
        "OldStateValue": "INSUFFICIENT_DATA", "NewStateReason": d["StateReason"], "Region": "US East (N. Virginia)", "AlarmActions": [topic]}.items()
    trigger = told["Trigger"]
    assert trigger.items() >= {
        "MetricName": "m", "Namespace": a["Namespace"], "StatisticType": "Statistic", "Statistic": "MAXIMUM", "Period": 60, "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold", "Threshold": 5.0, "Dimensions": [{"name": "Job", "value": "x"}]}.items()

    put(1, 1)
    until(cw, n, "OK")
    m = receiver.message(wanted=lambda m: m["Subject"].startswith("OK: "))
    assert json.loads(m["Message"])["OldStateValue"] == "ALARM"

    items = history(cw, n)
    assert [i["Timestamp"] for i in items] == sorted((i["Timestamp"] for i in items), reverse=True)
    changes = [i["HistorySummary"] for i in items[::-1] if i["HistoryItemType"] == "StateUpdate"]
    assert changes[:2] == ["Alarm updated from INSUFFICIENT_DATA to ALARM", "Alarm updated from ALARM to OK"]
    assert [i["HistorySummary"] for i in history(cw, n, HistoryItemType="ConfigurationUpdate")] == [f'Alarm "{n}" created']
    acted = history(cw, n, HistoryItemType="Action")
    assert {i["HistorySummary"] for i in acted} == {f"Successfully executed action {topic}"} and len(acted) == 2


def test_set_state_and_actions(cw, alarm, topic, receiver):
    n = alarm(AlarmActions=[topic], InsufficientDataActions=[topic], TreatMissingData="ignore")["AlarmName"]

    def state(value, reason):
        cw.set_alarm_state(AlarmName=n, StateValue=value, StateReason=reason)
        assert (described(cw, n)["StateValue"], described(cw, n)["StateReason"]) == (value, reason)

    cw.disable_alarm_actions(AlarmNames=[n])
    assert described(cw, n)["ActionsEnabled"] is False
    state("ALARM", "unheard")
    state("OK", "back")
    cw.enable_alarm_actions(AlarmNames=[n])
    state("ALARM", "heard")
    m = receiver.message()  # the first that comes at all
    assert json.loads(m["Message"])["NewStateReason"] == "heard"
    state("INSUFFICIENT_DATA", "gone")
    receiver.message(wanted=lambda m: m["Subject"].startswith("INSUFFICIENT_DATA: "))
    assert len(receiver.messages()) == 2
    refused(cw.set_alarm_state, "ResourceNotFound", AlarmName=name("none"), StateValue="OK", StateReason="x")
    refused(cw.set_alarm_state, "InvalidFormat", AlarmName=n, StateValue="OK", StateReason="x", StateReasonData="{")


def test_missing_data(cw, alarm):
    assert "no datapoints were received" in until(cw, alarm(TreatMissingData="breaching")["AlarmName"], "ALARM")["StateReason"]
    until(cw, alarm(TreatMissingData="notBreaching")["AlarmName"], "OK")


def test_m_of_n(cw, alarm):
    a = alarm(EvaluationPeriods=3, DatapointsToAlarm=2)
    metric = {"Namespace": a["Namespace"], "MetricName": "m"}
    query = alarm(**dict.fromkeys(("Namespace", "MetricName", "Statistic", "Period")), EvaluationPeriods=3, DatapointsToAlarm=2, Metrics=[
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}, "ReturnData": True}])
    now = datetime.datetime.now(datetime.timezone.utc)
    cw.put_metric_data(Namespace=a["Namespace"], MetricData=[
        {"MetricName": "m", "Value": v, "Timestamp": now - datetime.timedelta(minutes=m)} for m, v in ((1, 6.0), (2, 1.0), (3, 6.0))])
    assert "[6.0 (" in until(cw, a["AlarmName"], "ALARM")["StateReason"]
    until(cw, query["AlarmName"], "ALARM")


def test_describe(cw, alarm):
    base, action = name("list"), f"arn:aws:sns:us-east-1:{ACCOUNT}:{name('none')}"
    space, dims = name("Space"), [{"Name": "a", "Value": "b"}]
    names = [f"{base}-{i}" for i in range(3)]
    for n in names:
        alarm(AlarmName=n, Namespace=space, Dimensions=dims, TreatMissingData="ignore", AlarmActions=[action] if n != names[0] else [])

    def found(**by):
        pages = cw.get_paginator("describe_alarms").paginate(PaginationConfig={"PageSize": 2}, **by)
        return [a["AlarmName"] for p in pages for a in p["MetricAlarms"] if a["AlarmName"].startswith(base)]

    assert found(AlarmNamePrefix=base) == names and found(AlarmNames=names[1:]) == names[1:]
    assert found(ActionPrefix=action) == names[1:]
    cw.set_alarm_state(AlarmName=names[2], StateValue="ALARM", StateReason="x")
    assert found(AlarmNamePrefix=base, StateValue="ALARM") == names[2:] and found(AlarmNamePrefix=base, StateValue="INSUFFICIENT_DATA") == names[:2]
    of = [a["AlarmName"] for a in cw.describe_alarms_for_metric(Namespace=space, MetricName="m", Dimensions=dims)["MetricAlarms"]]
    assert of == names and not cw.describe_alarms_for_metric(Namespace=space, MetricName="m")["MetricAlarms"]

    cw.tag_resource(ResourceARN=ARN + names[0], Tags=[{"Key": "team", "Value": "red"}, {"Key": "x", "Value": "y"}])
    cw.untag_resource(ResourceARN=ARN + names[0], TagKeys=["x"])
    assert cw.list_tags_for_resource(ResourceARN=ARN + names[0])["Tags"] == [{"Key": "team", "Value": "red"}]

    alarm(AlarmName=names[2], Namespace=space, Dimensions=dims, TreatMissingData="ignore", Threshold=7.0)
    changed = described(cw, names[2])
    assert (changed["Threshold"], changed["StateValue"], changed["AlarmActions"]) == (7.0, "ALARM", [])  # its state is left as it was
    assert [i["HistorySummary"] for i in history(cw, names[2], HistoryItemType="ConfigurationUpdate")] == [f'Alarm "{names[2]}" updated', f'Alarm "{names[2]}" created']
    cw.delete_alarms(AlarmNames=[names[2]])
    assert found(AlarmNamePrefix=base) == names[:2]
    assert history(cw, names[2])[0]["HistorySummary"] == f'Alarm "{names[2]}" deleted'


def test_estimated_charges(cw, alarm, topic, receiver):
    """The alarm that every guide to AWS begins with."""
    a = alarm(
        Namespace="AWS/Billing", MetricName="EstimatedCharges", Dimensions=[{"Name": "Currency", "Value": "USD"}], Period=21600, Threshold=0.0,
        AlarmActions=[topic])
    run(name(), "true")  # which costs
    d = until(cw, a["AlarmName"], "ALARM")
    receiver.message(wanted=lambda m: a["AlarmName"] in m["Subject"])
    now = datetime.datetime.now(datetime.timezone.utc)
    for dims in (d["Dimensions"], d["Dimensions"] + [{"Name": "ServiceName", "Value": "AmazonSageMaker"}]):
        got = cw.get_metric_statistics(
            Namespace="AWS/Billing", MetricName="EstimatedCharges", Dimensions=dims, Period=86400, Statistics=["Maximum"],
            StartTime=now - datetime.timedelta(days=1), EndTime=now + datetime.timedelta(days=1))
        assert max(p["Maximum"] for p in got["Datapoints"]) > 0, dims


def test_bad_input(cw):
    good = {
        "AlarmName": "bad", "Namespace": "Space", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold"}
    for wrong in (
        {"Period": 7}, {"Period": 90}, {"Period": 3600, "EvaluationPeriods": 200}, {"DatapointsToAlarm": 2}, {"TreatMissingData": "guess"},
        {"AlarmActions": ["not an arn"]}, {"Statistic": None}, {"Threshold": None}, {"ExtendedStatistic": "p200", "Statistic": None},
        {"Metrics": [{"Id": "m1", "Expression": "m2 * 2"}], "Namespace": None, "MetricName": None, "Statistic": None, "Period": None},
    ):
        args = {k: v for k, v in {**good, **wrong}.items() if v is not None}
        with pytest.raises(ClientError) as failed:
            cw.put_metric_alarm(**args)
        assert failed.value.response["Error"]["Code"] in ("ValidationError", "MissingParameter", "InvalidParameterValue"), (wrong, failed.value)
    for what, args in {  # not there: said, not dropped
        "ExtendedStatistic": {**good, "ExtendedStatistic": "p90"},
        "Expression": {k: v for k, v in good.items() if k not in ("Namespace", "MetricName", "Statistic", "Period")} | {"Metrics": [
            {"Id": "twice", "Expression": "2 * m1"},
            {"Id": "m1", "MetricStat": {"Metric": {"Namespace": "Space", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}, "ReturnData": False}]},
    }.items():
        refused(cw.put_metric_alarm, "ValidationError", what, **args)
    assert cw.describe_alarms(AlarmNames=["bad"])["MetricAlarms"] == []
    refused(cw.describe_alarms, "ValidationError", AlarmNames=["a"], AlarmNamePrefix="a")
