"""The AWS CLI, both versions: what was spent, budgets, topics, alarms."""

import datetime
import json

from alerts import ACCOUNT, Receiver, address, letter, text
from helpers import name, run
from test_cli import aws  # noqa: F401


def test_costs(aws):  # noqa: F811
    key = name("team")
    run(name(), "true", Tags=[{"Key": key, "Value": "red"}])
    today = datetime.datetime.now(datetime.timezone.utc).date()
    day = datetime.timedelta(1)
    period = ("--time-period", f"Start={today - day},End={today + day}")
    tagged = json.dumps({"Tags": {"Key": key, "Values": ["red"]}})
    ask = ("ce", "get-cost-and-usage", *period, "--granularity", "DAILY", "--metrics", "UnblendedCost")
    costs = aws.json(*ask, "--filter", tagged, "--query", "ResultsByTime[].Total.UnblendedCost.Amount")
    assert len(costs) == 2 and sum(map(float, costs)) > 0
    groups = aws.json(*ask, "--filter", tagged, "--group-by", "Type=DIMENSION,Key=USAGE_TYPE", "--query", "ResultsByTime[].Groups[].Keys[]")
    assert set(groups) == {"USE1-Train:ml.m5.large"}
    assert "red" in aws.json("ce", "get-tags", *period, "--tag-key", key)["Tags"]
    err = aws(*ask[:2], "--time-period", f"Start={today},End={today}", *ask[4:], fails=True)
    assert "(ValidationException)" in err and "Start date (and hour) should be before end date (and hour)" in err


def test_budget(aws, tmp_path):  # noqa: F811
    n, to, tag = name("cli"), address(), name("team")
    run(name(), "true", Tags=[{"Key": "team", "Value": tag}])
    budget = {
        "BudgetName": n, "BudgetLimit": {"Amount": "0.001", "Unit": "USD"}, "TimeUnit": "MONTHLY", "BudgetType": "COST",
        "CostFilters": {"TagKeyValue": ["user:team$" + tag]}}
    notifications = [{
        "Notification": {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 100},
        "Subscribers": [{"SubscriptionType": "EMAIL", "Address": to}]}]
    (tmp_path / "budget.json").write_text(json.dumps(budget))
    (tmp_path / "notifications.json").write_text(json.dumps(notifications))
    create = (
        "budgets", "create-budget", "--account-id", ACCOUNT, "--budget", f"file://{tmp_path}/budget.json",
        "--notifications-with-subscribers", f"file://{tmp_path}/notifications.json")
    named = ("--account-id", ACCOUNT, "--budget-name", n)
    aws(*create)
    assert "(DuplicateRecordException)" in aws(*create, fails=True)
    assert float(aws("budgets", "describe-budget", *named, "--query", "Budget.CalculatedSpend.ActualSpend.Amount", "--output", "text")) > 0.001
    assert n in text(letter(to))
    listed = aws.json("budgets", "describe-budgets", "--account-id", ACCOUNT, "--query", "Budgets[].BudgetName")
    assert n in listed
    aws("budgets", "delete-budget", *named)
    assert "(NotFoundException)" in aws("budgets", "describe-budget", *named, fails=True)


def test_topic_and_alarm(aws):  # noqa: F811
    n, receiver = name("cli"), Receiver()
    topic = aws("sns", "create-topic", "--name", n, "--query", "TopicArn", "--output", "text").strip()
    try:
        aws("sns", "subscribe", "--topic-arn", topic, "--protocol", "http", "--notification-endpoint", receiver.url)
        token = receiver.message("SubscriptionConfirmation")["Token"]
        assert aws.json("sns", "confirm-subscription", "--topic-arn", topic, "--token", token)["SubscriptionArn"].startswith(topic + ":")
        aws("sns", "publish", "--topic-arn", topic, "--subject", "hello", "--message", "world")
        assert receiver.message()["Message"] == "world"
        assert "(InvalidParameter)" in aws("sns", "publish", "--topic-arn", topic, "--message", "x", "--subject", "x" * 101, fails=True)

        metric = ("--namespace", n, "--metric-name", "m", "--statistic", "Sum", "--period", "60", "--evaluation-periods", "1", "--threshold", "1")
        aws("cloudwatch", "put-metric-alarm", "--alarm-name", n, *metric, "--comparison-operator", "GreaterThanThreshold", "--alarm-actions", topic,
            "--treat-missing-data", "ignore")
        aws("cloudwatch", "set-alarm-state", "--alarm-name", n, "--state-value", "ALARM", "--state-reason", "a test")
        told = json.loads(receiver.message(wanted=lambda m: n in m.get("Subject", ""))["Message"])
        assert (told["AlarmName"], told["NewStateReason"]) == (n, "a test")
        found = aws.json("cloudwatch", "describe-alarms", "--alarm-name-prefix", n, "--state-value", "ALARM", "--query", "MetricAlarms[].AlarmName")
        assert found == [n]
        aws("cloudwatch", "delete-alarms", "--alarm-names", n)
    finally:
        receiver.close()
        aws("sns", "delete-topic", "--topic-arn", topic)
