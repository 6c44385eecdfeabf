"""boto3: budgets, who is told of them, and what they stop."""

import datetime
import json
import time
from decimal import Decimal

import boto3
import pytest
from alerts import ACCOUNT, Receiver, address, letter, letters, text, topic
from botocore.exceptions import ClientError
from helpers import name, process, request, run, wait

MINE = {"AccountId": ACCOUNT}


@pytest.fixture(scope="module")
def budgets():
    return boto3.client("budgets")


@pytest.fixture(scope="module")
def spent():
    """The filter of a budget for what has cost something already."""
    tag = name("team")
    run(name(), "true", Tags=[{"Key": "team", "Value": tag}])
    return {"TagKeyValue": ["user:team$" + tag]}


@pytest.fixture(scope="module")
def stopper():
    """A role that AWS Budgets may act as."""
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "budgets.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    iam, role = boto3.client("iam"), name("Budgets")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=role, PolicyName="stop", PolicyDocument=json.dumps(policy))
    return arn


@pytest.fixture
def make(budgets):
    """Makes budgets, and leaves none behind."""
    made = []

    def make(limit, *alerts, **more):
        b = {
            "BudgetName": name("budget"), "BudgetLimit": {"Amount": limit, "Unit": "USD"}, "TimeUnit": "MONTHLY", "BudgetType": "COST", **more}
        budgets.create_budget(**MINE, Budget={k: v for k, v in b.items() if v is not None}, NotificationsWithSubscribers=list(alerts))
        made.append(b["BudgetName"])
        return {**MINE, "BudgetName": b["BudgetName"]}

    yield make
    for n in made:
        try:
            budgets.delete_budget(**MINE, BudgetName=n)
        except budgets.exceptions.NotFoundException:
            pass


@pytest.fixture
def told():
    """A topic, and the receiver that it tells."""
    to, r = topic(), Receiver()
    r.subscribe(to)
    yield to, r
    boto3.client("sns").delete_topic(TopicArn=to)
    r.close()


def notification(threshold, kind="ACTUAL", of="PERCENTAGE"):
    return {"NotificationType": kind, "ComparisonOperator": "GREATER_THAN", "Threshold": threshold, "ThresholdType": of}


def mail(to):
    return {"SubscriptionType": "EMAIL", "Address": to}


def sns_to(topic):
    return {"SubscriptionType": "SNS", "Address": topic}


def alert(notification, *subscribers):
    return {"Notification": notification, "Subscribers": list(subscribers)}


def refused(call, code, text="", **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response
    assert (e["Error"]["Code"], text in e["Error"]["Message"], e["ResponseMetadata"]["HTTPStatusCode"]) == (code, True, 400), e["Error"]


def test_life(budgets, make):
    to, other = address(), address()
    actual, forecast = notification(80.0), notification(100.0, "FORECASTED")
    b = make("1000000", alert(actual, mail(to)), alert(forecast, mail(to), mail(other)), CostFilters={"Service": ["Amazon SageMaker"]})
    n = b["BudgetName"]
    d = budgets.describe_budget(**b)["Budget"]
    month = datetime.datetime.now(datetime.timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert d["BudgetLimit"]["Unit"] == "USD" and Decimal(d["BudgetLimit"]["Amount"]) == 1000000 and d["CostFilters"] == {"Service": ["Amazon SageMaker"]}
    assert d["TimePeriod"] == {"Start": month, "End": datetime.datetime(2087, 6, 15, tzinfo=datetime.timezone.utc)}
    assert d["CostTypes"] == {
        "IncludeTax": True, "IncludeSubscription": True, "UseBlended": False, "IncludeRefund": True, "IncludeCredit": True, "IncludeUpfront": True,
        "IncludeRecurring": True, "IncludeOtherSubscription": True, "IncludeSupport": True, "IncludeDiscount": True, "UseAmortized": False}
    assert Decimal(d["CalculatedSpend"]["ActualSpend"]["Amount"]) >= 0 and d["CalculatedSpend"]["ActualSpend"]["Unit"] == "USD"
    assert d["LastUpdatedTime"] >= month
    assert n in [x["BudgetName"] for p in budgets.get_paginator("describe_budgets").paginate(**MINE, PaginationConfig={"PageSize": 1}) for x in p["Budgets"]]

    def notifications():
        pages = budgets.get_paginator("describe_notifications_for_budget").paginate(**b)
        return [x for p in pages for x in p["Notifications"]]

    def subscribers(of):
        pages = budgets.get_paginator("describe_subscribers_for_notification").paginate(**b, Notification=of)
        return sorted(s["Address"] for p in pages for s in p["Subscribers"])

    assert sorted((x["NotificationType"], x["Threshold"], x["NotificationState"]) for x in notifications()) == [("ACTUAL", 80.0, "OK"), ("FORECASTED", 100.0, "OK")]
    assert subscribers(forecast) == sorted([to, other])
    budgets.delete_subscriber(**b, Notification=forecast, Subscriber=mail(other))
    budgets.create_subscriber(**b, Notification=actual, Subscriber=mail(other))
    refused(budgets.create_subscriber, "DuplicateRecordException", **b, Notification=actual, Subscriber=mail(other))
    third = address()
    budgets.update_subscriber(**b, Notification=actual, OldSubscriber=mail(other), NewSubscriber=mail(third))
    assert (subscribers(forecast), subscribers(actual)) == ([to], sorted([to, third]))
    higher = notification(999.0, of="ABSOLUTE_VALUE")
    budgets.update_notification(**b, OldNotification=actual, NewNotification=higher)
    budgets.create_notification(**b, Notification=notification(50.0), Subscribers=[mail(to)])
    refused(budgets.create_notification, "DuplicateRecordException", **b, Notification=notification(50.0), Subscribers=[mail(to)])
    budgets.delete_notification(**b, Notification=forecast)
    assert sorted((x["Threshold"], x["ThresholdType"]) for x in notifications()) == [(50.0, "PERCENTAGE"), (999.0, "ABSOLUTE_VALUE")]
    assert subscribers(higher) == sorted([to, third])
    refused(budgets.describe_subscribers_for_notification, "NotFoundException", **b, Notification=forecast)
    pages = budgets.get_paginator("describe_budget_notifications_for_account").paginate(**MINE)
    (mine,) = [x for p in pages for x in p["BudgetNotificationsForAccount"] if x["BudgetName"] == n]
    assert len(mine["Notifications"]) == 2

    d.pop("CalculatedSpend")
    budgets.update_budget(**MINE, NewBudget={**d, "BudgetLimit": {"Amount": "12.5", "Unit": "USD"}})
    assert Decimal(budgets.describe_budget(**b)["Budget"]["BudgetLimit"]["Amount"]) == Decimal("12.5")
    h = budgets.describe_budget_performance_history(**b)["BudgetPerformanceHistory"]
    assert (h["BudgetName"], h["TimeUnit"]) == (n, "MONTHLY")
    now = h["BudgetedAndActualAmountsList"][-1]
    assert now["TimePeriod"]["Start"] == month and Decimal(now["BudgetedAmount"]["Amount"]) == Decimal("12.5") and now["ActualAmount"]["Unit"] == "USD"

    refused(budgets.create_budget, "DuplicateRecordException", f"{n} - the budget already exists", **MINE, Budget=d)
    arn = f"arn:aws:budgets::{ACCOUNT}:budget/{n}"
    budgets.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": "a", "Value": "b"}])
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [{"Key": "a", "Value": "b"}]
    budgets.delete_budget(**b)
    for call in (budgets.describe_budget, budgets.delete_budget, budgets.describe_notifications_for_budget):
        refused(call, "NotFoundException", n, **b)
    assert letters(to) == []


def test_already_over(budgets, make, spent, told):
    """It is told at once, once, to all; a budget with more room is not; one with a
    forecast over it is."""
    to_topic, receiver = told
    to, calm = address(), address()
    b = make("0.001", alert(notification(100.0), mail(to), sns_to(to_topic)), alert(notification(0.0005, of="ABSOLUTE_VALUE"), mail(to)), CostFilters=spent)
    make("1000", alert(notification(100.0), mail(calm), sns_to(to_topic)), CostFilters=spent)
    n = b["BudgetName"]
    m = letter(to, lambda m: "$0.001" in text(m))
    assert m["Subject"] == f"AWS Budgets: {n} has exceeded your alert threshold" and n in text(m)
    got = receiver.message(wanted=lambda m: n in m["Message"])
    assert got["Subject"] == m["Subject"] and got["TopicArn"] == to_topic
    letter(to, lambda m: "$0.0005" in text(m))
    assert {x["NotificationState"] for x in budgets.describe_notifications_for_budget(**b)["Notifications"]} == {"ALARM"}
    actual = Decimal(budgets.describe_budget(**b)["Budget"]["CalculatedSpend"]["ActualSpend"]["Amount"])
    assert actual > Decimal("0.001")

    # more of the same says nothing new; another threshold does
    tag = spent["TagKeyValue"][0].partition("$")[2]
    process(name(), "true", Tags=[{"Key": "team", "Value": tag}])
    budgets.create_notification(**b, Notification=notification(float(actual), of="ABSOLUTE_VALUE"), Subscribers=[mail(to)])
    deadline = time.monotonic() + 90
    while len(letters(to)) < 3:
        assert time.monotonic() < deadline, [m["Subject"] for m in letters(to)]
        time.sleep(0.2)
    assert len(letters(to)) == 3 and letters(calm) == [] and len(receiver.messages()) == 1
    assert Decimal(budgets.describe_budget(**b)["Budget"]["CalculatedSpend"]["ActualSpend"]["Amount"]) > actual


def test_usage_and_expressions(budgets, make, spent):
    tag = spent["TagKeyValue"][0].partition("$")[2]
    to = address()
    expression = {"And": [
        {"Tags": {"Key": "team", "Values": [tag]}}, {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon SageMaker"]}}]}
    b = make("0.01", alert(notification(100.0), mail(to)), BudgetType="USAGE", BudgetLimit={"Amount": "0.01", "Unit": "Hrs"}, CostFilters={
        "UsageType": ["USE1-Train:ml.m5.large"], **spent})
    spend = budgets.describe_budget(**b)["Budget"]["CalculatedSpend"]["ActualSpend"]
    assert spend["Unit"] == "Hrs" and 0.01 < float(spend["Amount"]) < 0.2
    letter(to)
    b = make("5", FilterExpression=expression, Metrics=["UnblendedCost"], TimeUnit="DAILY")
    d = budgets.describe_budget(**b, ShowFilterExpression=True)["Budget"]
    assert d["FilterExpression"] == expression and d["Metrics"] == ["UnblendedCost"] and d["TimeUnit"] == "DAILY"
    assert Decimal(d["CalculatedSpend"]["ActualSpend"]["Amount"]) > 0
    unit = make("5", CostFilters={"TagKeyValue": ["user:team$nobody"]}, TimeUnit="QUARTERLY")
    d = budgets.describe_budget(**unit)["Budget"]
    assert Decimal(d["CalculatedSpend"]["ActualSpend"]["Amount"]) == 0 and d["TimePeriod"]["Start"].month in (1, 4, 7, 10)


def action(stopper, to, approval="AUTOMATIC", what=("All",), threshold=100.0, **more):
    ssm = {"ActionSubType": "STOP_EC2_INSTANCES", "Region": "us-east-1", "InstanceIds": list(what)}
    return {
        "NotificationType": "ACTUAL", "ActionType": "RUN_SSM_DOCUMENTS", "ActionThreshold": {"ActionThresholdValue": threshold, "ActionThresholdType": "PERCENTAGE"},
        "Definition": {"SsmActionDefinition": ssm}, "ExecutionRoleArn": stopper, "ApprovalModel": approval, "Subscribers": [mail(to)], **more}


def acted(budgets, a, until, within=90):
    deadline = time.monotonic() + within
    while (d := budgets.describe_budget_action(**a)["Action"])["Status"] != until:
        assert time.monotonic() < deadline, (d, budgets.describe_budget_action_histories(**a)["ActionHistories"])
        time.sleep(0.2)
    return d


def test_action_that_waits_for_approval(budgets, make, stopper):
    """A dry run: what would be stopped is said, and goes on until somebody approves."""
    tag, to = name("team"), address()
    job, other = name("runs"), name("others")
    sleeps = "trap 'exit 0' TERM; sleep 300 & wait"
    sm = boto3.client("sagemaker")
    sm.create_training_job(**request(job, sleeps, Tags=[{"Key": "team", "Value": tag}]))
    sm.create_training_job(**request(other, sleeps))
    try:
        for j in (job, other):
            wait(j, ("Training",), "SecondaryStatus")
        b = make("0.001", CostFilters={"TagKeyValue": ["user:team$" + tag]})
        made = budgets.create_budget_action(**b, **action(stopper, to, "MANUAL"))
        a = {**b, "ActionId": made["ActionId"]}
        d = acted(budgets, a, "PENDING")
        assert (d["ApprovalModel"], d["ExecutionRoleArn"], d["Definition"]["SsmActionDefinition"]["InstanceIds"]) == ("MANUAL", stopper, ["All"])
        said = text(letter(to))
        assert job in said and other not in said and "0.115" in said, said
        assert any(job in h["ActionHistoryDetails"]["Message"] for h in budgets.describe_budget_action_histories(**a)["ActionHistories"])
        assert sm.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "InProgress"
        budgets.execute_budget_action(**a, ExecutionType="APPROVE_BUDGET_ACTION")
        acted(budgets, a, "EXECUTION_SUCCESS")
        assert wait(job)["TrainingJobStatus"] == "Stopped"
        assert sm.describe_training_job(TrainingJobName=other)["TrainingJobStatus"] == "InProgress"
        events = [(h["EventType"], h["Status"]) for h in budgets.describe_budget_action_histories(**a)["ActionHistories"]][::-1]
        assert [e for e, _ in events][:2] == ["CREATE_ACTION", "SYSTEM"] and "EXECUTE_ACTION" in dict(events) and events[-1] == ("SYSTEM", "EXECUTION_SUCCESS"), events
        assert [x["ActionId"] for x in budgets.describe_budget_actions_for_budget(**b)["Actions"]] == [a["ActionId"]]
        assert a["ActionId"] in [x["ActionId"] for p in budgets.get_paginator("describe_budget_actions_for_account").paginate(**MINE) for x in p["Actions"]]
        budgets.delete_budget_action(**a)
        refused(budgets.describe_budget_action, "NotFoundException", **a)
    finally:
        for j in (job, other):
            if sm.describe_training_job(TrainingJobName=j)["TrainingJobStatus"] == "InProgress":
                sm.stop_training_job(TrainingJobName=j)


def test_action_life(budgets, make, stopper):
    to = address()
    b = make("1000000", CostFilters={"TagKeyValue": ["user:team$" + name("nobody")]})
    made = budgets.create_budget_action(**b, **action(stopper, to, "MANUAL", ["NotebookInstance"], 90.0))
    a = {**b, "ActionId": made["ActionId"]}
    d = budgets.describe_budget_action(**a)["Action"]
    assert (d["Status"], d["ActionType"], d["BudgetName"], d["Subscribers"]) == ("STANDBY", "RUN_SSM_DOCUMENTS", b["BudgetName"], [mail(to)])
    changed = budgets.update_budget_action(**a, ApprovalModel="AUTOMATIC", ActionThreshold={"ActionThresholdValue": 80.0, "ActionThresholdType": "PERCENTAGE"})
    assert (changed["OldAction"]["ApprovalModel"], changed["NewAction"]["ApprovalModel"]) == ("MANUAL", "AUTOMATIC")
    assert budgets.describe_budget_action(**a)["Action"]["ActionThreshold"]["ActionThresholdValue"] == 80.0
    refused(budgets.execute_budget_action, "InvalidParameterException", **a, ExecutionType="APPROVE_BUDGET_ACTION")  # nothing is pending
    refused(budgets.create_budget_action, "InvalidParameterException", **b, **action(stopper, to, Definition={"IamActionDefinition": {
        "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "Roles": ["r"]}}))  # of another type than it says
    refused(budgets.create_budget_action, "NotFoundException", **{**b, "BudgetName": name("none")}, **action(stopper, to))
    with pytest.raises(ClientError) as failed:  # a role that is not trusted to stop anything
        untrusting = name("Untrusting")
        boto3.client("iam").create_role(RoleName=untrusting, AssumeRolePolicyDocument=json.dumps(
            {"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}))
        budgets.create_budget_action(**b, **action(f"arn:aws:iam::{ACCOUNT}:role/{untrusting}", to))
    assert failed.value.response["Error"]["Code"] in ("AccessDeniedException", "InvalidParameterException"), failed.value
    budgets.delete_budget(**b)
    refused(budgets.describe_budget_action, "NotFoundException", **a)


def test_bad_input(budgets, make):
    good = {"BudgetName": name("bad"), "BudgetLimit": {"Amount": "10", "Unit": "USD"}, "TimeUnit": "MONTHLY", "BudgetType": "COST"}
    invalid = "InvalidParameterException"
    now = datetime.datetime.now(datetime.timezone.utc)
    for wrong, said in (
        ({"BudgetLimit": {"Amount": "10", "Unit": "EUR"}}, "EUR is not in the supported unit set: [USD]"),
        ({"BudgetLimit": {"Amount": "-5", "Unit": "USD"}}, "mount"),
        ({"BudgetLimit": {"Amount": "ten", "Unit": "USD"}}, "mount"),
        ({"BudgetLimit": None}, "imit"),
        ({"BudgetName": "with:colon"}, "udgetName"),
        ({"TimeUnit": "WEEKLY"}, "imeUnit"),
        ({"TimePeriod": {"Start": now, "End": now - datetime.timedelta(days=1)}}, ""),
        ({"CostFilters": {"Colour": ["red"]}}, ""),
        ({"CostFilters": {"Service": ["a"]}, "FilterExpression": {"Dimensions": {"Key": "SERVICE", "Values": ["a"]}}, "Metrics": ["UnblendedCost"]}, ""),
    ):
        budget = {k: v for k, v in {**good, **wrong}.items() if v is not None}
        refused(budgets.create_budget, invalid, said, **MINE, Budget=budget)
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:"
    for bad in (
        alert(notification(100.0), mail("nobody")), alert(notification(100.0), mail("a@example.com\r\nBcc: b@example.com")),
        alert(notification(100.0), sns_to("not an arn")),
    ):
        refused(budgets.create_budget, invalid, **MINE, Budget=good, NotificationsWithSubscribers=[bad])
    refused(budgets.create_budget, "CreationLimitExceededException", "one notification can only have 1 subscribers with type of SNS", **MINE, Budget=good,
            NotificationsWithSubscribers=[alert(notification(100.0), sns_to(arn + "a"), sns_to(arn + "b"))])
    refused(budgets.describe_budget, "NotFoundException", good["BudgetName"], **MINE, BudgetName=good["BudgetName"])  # nothing of all that was kept
    refused(budgets.describe_budgets, "AccessDeniedException", AccountId="210987654321")
    refused(budgets.create_notification, "NotFoundException", **MINE, BudgetName=good["BudgetName"], Notification=notification(1.0), Subscribers=[mail("a@example.com")])
    full = make("10", *[alert(notification(float(t)), mail("a@example.com")) for t in range(200, 210)], CostFilters={"TagKeyValue": ["user:team$nobody"]})
    refused(budgets.create_notification, "CreationLimitExceededException", **full, Notification=notification(300.0), Subscribers=[mail("a@example.com")])
