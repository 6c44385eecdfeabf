"""boto3: Cost Explorer, as scripts and notebooks ask it what was spent."""

import datetime
from decimal import Decimal

import boto3
import pytest
from botocore.exceptions import ClientError
from helpers import name, process, run

HOUR = {"Train": Decimal("0.115"), "Processing": Decimal("0.115")}  # of ml.m5.large
COSTS = ["UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost"]
CENT_OF_CENT = Decimal("0.00001")


@pytest.fixture(scope="module")
def ce():
    return boto3.client("ce")


@pytest.fixture(scope="module")
def spent(sm):
    """Two jobs that cost a minute each, and the tags that tell them from all others."""
    key = name("team")
    trained, cleaned = name("train"), name("clean")
    run(trained, "true", Tags=[{"Key": key, "Value": "red"}, {"Key": "all" + key, "Value": "x"}])
    process(cleaned, "true", Tags=[{"Key": key, "Value": "blue"}, {"Key": "all" + key, "Value": "x"}])
    arns = [sm.describe_training_job(TrainingJobName=trained)["TrainingJobArn"], sm.describe_processing_job(ProcessingJobName=cleaned)["ProcessingJobArn"]]
    return {"key": key, "both": {"Tags": {"Key": "all" + key, "Values": ["x"]}}, "arns": arns}


def days(before=1, after=1):
    """From yesterday to today, or as said; the end is exclusive."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return {"Start": str(today - datetime.timedelta(before)), "End": str(today + datetime.timedelta(after))}


def pages(call, **args):
    """Every result of an operation that boto3 has no paginator for."""
    token, out = {}, []
    while True:
        page = call(**args, **token)
        out += page["ResultsByTime"]
        if not page.get("NextPageToken"):
            return out
        token = {"NextPageToken": page["NextPageToken"]}


def usage(ce, metric="UnblendedCost", granularity="DAILY", period=None, call=None, **more):
    return pages(call or ce.get_cost_and_usage, TimePeriod=period or days(), Granularity=granularity, Metrics=[metric], **more)


def total(results, metric="UnblendedCost"):
    return sum(Decimal(r["Total"][metric]["Amount"]) for r in results)


def grouped(results, metric="UnblendedCost"):
    out = {}
    for r in results:
        assert r["Total"] == {}, r
        for g in r["Groups"]:
            out[tuple(g["Keys"])] = out.get(tuple(g["Keys"]), 0) + Decimal(g["Metrics"][metric]["Amount"])
    return out


def by(*groups):
    return {"GroupBy": [dict(zip(("Type", "Key"), g)) for g in groups]}


def refused(call, text, code="ValidationException", **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response["Error"]
    assert (e["Code"], text in e["Message"]) == (code, True), e


def test_daily_and_monthly(ce, spent):
    period = days(3)
    r = ce.get_cost_and_usage(TimePeriod=period, Granularity="DAILY", Metrics=COSTS + ["UsageQuantity"], Filter=spent["both"])["ResultsByTime"]
    assert [d["TimePeriod"]["Start"] for d in r] == sorted({d["TimePeriod"]["Start"] for d in r}) and len(r) == 4
    assert r[0]["TimePeriod"]["Start"] == period["Start"] and r[-1]["TimePeriod"]["End"] == period["End"]
    assert all(a["TimePeriod"]["End"] == b["TimePeriod"]["Start"] for a, b in zip(r, r[1:]))
    assert r[-1]["Estimated"] is True and r[-1]["Groups"] == []
    assert {d["Total"][m]["Unit"] for d in r for m in COSTS} == {"USD"}
    spend = {m: total(r, m) for m in COSTS}
    minutes = spend["UnblendedCost"] / (HOUR["Train"] / 60)
    assert len(set(spend.values())) == 1 and minutes >= 2 and abs(minutes - round(minutes)) < Decimal("0.01"), spend
    assert abs(total(r, "UsageQuantity") * HOUR["Train"] - spend["UnblendedCost"]) < CENT_OF_CENT
    assert total(r[:2]) == 0 and set(r[0]["Total"]) == {*COSTS, "UsageQuantity"}

    monthly = usage(ce, granularity="MONTHLY", period=period, Filter=spent["both"])
    assert total(monthly) == spend["UnblendedCost"]
    assert (monthly[0]["TimePeriod"]["Start"], monthly[-1]["TimePeriod"]["End"]) == (period["Start"], period["End"])
    hours = {k: v + "T00:00:00Z" for k, v in days().items()}
    hourly = usage(ce, granularity="HOURLY", period=hours, Filter=spent["both"])
    assert len(hourly) == 48 and hourly[1]["TimePeriod"] == {"Start": hours["Start"][:11] + "01:00:00Z", "End": hours["Start"][:11] + "02:00:00Z"}
    assert abs(total(hourly) - spend["UnblendedCost"]) < CENT_OF_CENT


def test_groups_sum_to_the_bill(ce, spent):
    mine = {"Filter": spent["both"]}
    whole = total(usage(ce, **mine))
    types = grouped(usage(ce, **mine, **by(("DIMENSION", "SERVICE"), ("DIMENSION", "USAGE_TYPE"))))
    assert set(types) == {("Amazon SageMaker", "USE1-Train:ml.m5.large"), ("Amazon SageMaker", "USE1-Processing:ml.m5.large")}, types
    key = spent["key"]
    tags = grouped(usage(ce, **mine, **by(("TAG", key))))
    assert set(tags) == {(key + "$red",), (key + "$blue",)}
    untagged = grouped(usage(ce, **mine, **by(("TAG", "none" + key))))
    assert untagged == {(f"none{key}$",): whole}
    regions = grouped(usage(ce, **mine, **by(("DIMENSION", "REGION"), ("DIMENSION", "LINKED_ACCOUNT"))))
    assert regions == {("us-east-1", "123456789012"): whole}
    assert grouped(usage(ce, **mine, **by(("DIMENSION", "INSTANCE_TYPE")))) == {("ml.m5.large",): whole}
    by_resource = usage(ce, call=ce.get_cost_and_usage_with_resources, **mine, **by(("DIMENSION", "RESOURCE_ID")))
    resources = grouped(by_resource)
    assert set(resources) == {(arn,) for arn in spent["arns"]}
    for groups in (types, tags, resources):
        assert sum(groups.values()) == whole, groups
    one = ce.get_cost_and_usage(TimePeriod=days(), Granularity="DAILY", Metrics=["UnblendedCost"], **mine, **by(("TAG", key)))
    assert one["GroupDefinitions"] == [{"Type": "TAG", "Key": key}]


def test_filters(ce, spent):
    key = spent["key"]

    def cost(expression):
        return total(usage(ce, Filter=expression))

    def dimension(k, *values, **more):
        return {"Dimensions": {"Key": k, "Values": list(values), **more}}

    def tag(*values, **more):
        return {"Tags": {"Key": key, "Values": list(values), **more}}

    red, blue, both = cost(tag("red")), cost(tag("blue")), cost(spent["both"])
    assert red > 0 and blue > 0 and red + blue == both == cost(tag("red", "blue")) == cost({"Or": [tag("red"), tag("blue")]})
    assert cost({"And": [spent["both"], {"Not": tag("red")}]}) == blue
    assert cost({"And": [spent["both"], dimension("USAGE_TYPE", "USE1-Train:ml.m5.large")]}) == red
    assert cost({"And": [spent["both"], dimension("SERVICE", "Amazon SageMaker"), dimension("REGION", "us-east-1")]}) == both
    assert cost({"And": [spent["both"], dimension("SERVICE", "Amazon Simple Storage Service")]}) == 0
    assert cost({"And": [spent["both"], {"Tags": {"Key": key, "MatchOptions": ["ABSENT"]}}]}) == 0
    assert cost({"Tags": {"Key": key, "MatchOptions": ["ABSENT"]}}) >= 0
    one = usage(ce, call=ce.get_cost_and_usage_with_resources, Filter=dimension("RESOURCE_ID", spent["arns"][0]))
    assert total(one) == red


def test_forecast(ce, spent):
    today = datetime.datetime.now(datetime.timezone.utc).date()
    first = (today.replace(day=28) + datetime.timedelta(4)).replace(day=1)  # of the next month
    end = (first.replace(day=28) + datetime.timedelta(4)).replace(day=1)
    ask = {"TimePeriod": {"Start": str(today), "End": str(end)}, "Metric": "UNBLENDED_COST"}
    f = ce.get_cost_forecast(Granularity="DAILY", PredictionIntervalLevel=80, **ask)
    days = f["ForecastResultsByTime"]
    assert [d["TimePeriod"]["Start"] for d in days] == [str(today + datetime.timedelta(i)) for i in range((end - today).days)]
    assert all(Decimal(d["PredictionIntervalLowerBound"]) <= Decimal(d["MeanValue"]) <= Decimal(d["PredictionIntervalUpperBound"]) for d in days)
    whole = Decimal(f["Total"]["Amount"])
    assert f["Total"]["Unit"].startswith("USD") and whole > 0 and abs(sum(Decimal(d["MeanValue"]) for d in days) - whole) < Decimal("0.0001")
    months = ce.get_cost_forecast(Granularity="MONTHLY", **ask)["ForecastResultsByTime"]
    assert [m["TimePeriod"] for m in months] == [{"Start": str(today), "End": str(first)}, {"Start": str(first), "End": str(end)}]
    mine = Decimal(ce.get_cost_forecast(Granularity="MONTHLY", Filter=spent["both"], **ask)["Total"]["Amount"])
    assert 0 < mine < whole


def test_dimension_values_and_tags(ce, spent):
    def values(dimension, **more):
        got = ce.get_dimension_values(TimePeriod=days(), Dimension=dimension, **more)
        assert got["ReturnSize"] == len(got["DimensionValues"]) <= got["TotalSize"]
        return [v["Value"] for v in got["DimensionValues"]]

    assert "Amazon SageMaker" in values("SERVICE") and "us-east-1" in values("REGION") and "123456789012" in values("LINKED_ACCOUNT")
    assert {"USE1-Train:ml.m5.large", "USE1-Processing:ml.m5.large"} <= set(values("USAGE_TYPE"))
    assert all("Train" in v for v in values("USAGE_TYPE", SearchString="Train"))
    assert sorted(values("USAGE_TYPE", Filter=spent["both"])) == ["USE1-Processing:ml.m5.large", "USE1-Train:ml.m5.large"]

    key = spent["key"]
    got = ce.get_tags(TimePeriod=days())
    assert key in got["Tags"] and got["ReturnSize"] == len(got["Tags"]) <= got["TotalSize"]
    assert set(ce.get_tags(TimePeriod=days(), TagKey=key)["Tags"]) - {""} == {"blue", "red"}  # "" is what has no such tag
    assert ce.get_tags(TimePeriod=days(), TagKey=key, SearchString="re")["Tags"] == ["red"]
    assert sorted(ce.get_tags(TimePeriod=days(), SearchString=key)["Tags"]) == ["all" + key, key]


def test_another_region_sees_the_same(ce, spent):
    """Cost Explorer has one answer for all regions."""
    there = boto3.client("ce", region_name="eu-west-1")
    assert total(usage(there, Filter=spent["both"])) == total(usage(ce, Filter=spent["both"]))


def test_bad_input(ce):
    def ask(text, call=ce.get_cost_and_usage, code="ValidationException", **more):
        refused(call, text, code, **{"TimePeriod": days(), "Granularity": "DAILY", "Metrics": ["UnblendedCost"], **more})

    ask("Start date (and hour) should be before end date (and hour)", TimePeriod=days(0, 0))
    ask("end date past the beginning of next month", TimePeriod=days(1, 40))
    ask("", TimePeriod={"Start": "2026-13-01", "End": "2026-13-02"})
    ask("failed to satisfy constraint", TimePeriod={"Start": "yesterday", "End": "today"})
    ask("failed to satisfy constraint", Granularity="YEARLY")
    ask("", Metrics=["Euros"])
    ask("", Metrics=[])
    ask("", GroupBy=[{"Type": "DIMENSION", "Key": k} for k in ("SERVICE", "REGION", "USAGE_TYPE")])
    ask("", GroupBy=[{"Type": "DIMENSION", "Key": "COLOUR"}])
    ask("Expression has zero or more than one roots", Filter={"Dimensions": {"Key": "SERVICE", "Values": ["a"]}, "Tags": {"Key": "b", "Values": ["c"]}})
    ask("And expression must have at least 2 operands", Filter={"And": [{"Dimensions": {"Key": "SERVICE", "Values": ["a"]}}]})
    ask("", code="InvalidNextTokenException", NextPageToken="nothing")
    ask("", call=ce.get_cost_and_usage_with_resources, Filter={"Dimensions": {"Key": "SERVICE", "Values": ["Amazon SageMaker"]}})
    today = datetime.datetime.now(datetime.timezone.utc).date()
    refused(ce.get_cost_forecast, "", TimePeriod=days(-2, 1), Granularity="DAILY", Metric="UNBLENDED_COST")  # backwards
    refused(ce.get_cost_forecast, "", TimePeriod={"Start": str(today), "End": str(today + datetime.timedelta(9))}, Granularity="HOURLY", Metric="UNBLENDED_COST")
