"""boto3: somebody forgot a notebook instance. They are told, with what it costs and
how to stop it; then a budget that acts stops it, and lets no other begin."""

from decimal import Decimal

import boto3
import pytest
from alerts import Receiver, address, letter, links, text, topic, visit
from botocore.exceptions import ClientError
from helpers import ROLE, name
from test_budgets import acted, action, alert, budgets, mail, make, notification, sns_to, stopper  # noqa: F401
from test_cost_explorer import total, usage

MINUTE = Decimal("5.53") / 60  # of ml.m5.24xlarge


def until(sm, waiter, nb):
    sm.get_waiter("notebook_instance_" + waiter).wait(NotebookInstanceName=nb, WaiterConfig={"Delay": 1, "MaxAttempts": 300})


@pytest.fixture
def notebook(sm):
    nb = name("forgotten")
    tags = [{"Key": "owner", "Value": nb}]
    sm.create_notebook_instance(NotebookInstanceName=nb, InstanceType="ml.m5.24xlarge", RoleArn=ROLE, Tags=tags)
    yield nb
    if sm.describe_notebook_instance(NotebookInstanceName=nb)["NotebookInstanceStatus"] in ("Pending", "InService"):
        until(sm, "in_service", nb)
        sm.stop_notebook_instance(NotebookInstanceName=nb)
    until(sm, "stopped", nb)
    sm.delete_notebook_instance(NotebookInstanceName=nb)


def test_forgotten_notebook(sm, budgets, make, stopper, notebook):  # noqa: F811
    me, to, sns = address(), topic(), boto3.client("sns")
    sns.subscribe(TopicArn=to, Protocol="email", Endpoint=me)
    visit(next(u for u in links(text(letter(me))) if "ConfirmSubscription" in u))
    receiver = Receiver()
    try:
        receiver.subscribe(to)
        until(sm, "in_service", notebook)
        mine = {"TagKeyValue": ["user:owner$" + notebook]}
        told = make("0.05", alert(notification(100.0), sns_to(to)), CostFilters=mine)["BudgetName"]
        for said in (text(letter(me, lambda m: told in m["Subject"])), receiver.message(wanted=lambda m: told in m["Message"])["Message"]):
            assert notebook in said and "5.53" in said and "0.05" in said, said
            assert f"clary notebook stop {notebook}" in said or f"stop-notebook-instance --notebook-instance-name {notebook}" in said, said
    finally:
        receiver.close()
        sns.delete_topic(TopicArn=to)
    assert sm.describe_notebook_instance(NotebookInstanceName=notebook)["NotebookInstanceStatus"] == "InService"  # an alert stops nothing

    def cost():
        return total(usage(boto3.client("ce"), Filter={"Tags": {"Key": "owner", "Values": [notebook]}}))

    before, limit, mailed = cost(), Decimal("0.18"), address()
    b = make(str(limit), CostFilters=mine)
    a = {**b, "ActionId": budgets.create_budget_action(**b, **action(stopper, mailed))["ActionId"]}
    acted(budgets, a, "EXECUTION_SUCCESS")
    assert sm.describe_notebook_instance(NotebookInstanceName=notebook)["NotebookInstanceStatus"] in ("Stopping", "Stopped")
    until(sm, "stopped", notebook)
    assert notebook in text(letter(mailed))
    after = cost()
    assert before <= after <= max(limit, before + 2 * MINUTE + Decimal("0.001")), (before, after)

    # what would go over the budget again does not begin, and is told why
    other = name("another")
    for call, args in (
        (sm.start_notebook_instance, {"NotebookInstanceName": notebook}),
        (sm.create_notebook_instance, {
            "NotebookInstanceName": other, "InstanceType": "ml.m5.24xlarge", "RoleArn": ROLE, "Tags": [{"Key": "owner", "Value": notebook}]}),
    ):
        with pytest.raises(ClientError) as failed:
            call(**args)
        e = failed.value.response["Error"]
        assert e["Code"] == "ResourceLimitExceeded" and b["BudgetName"] in e["Message"] and "5.53" in e["Message"], e
    assert sm.list_notebook_instances(NameContains=other)["NotebookInstances"] == []
    budgets.delete_budget(**b)
    assert cost() - after < Decimal("0.001")  # the volume alone costs on
