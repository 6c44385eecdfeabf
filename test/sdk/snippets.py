"""Runs the code that the console's empty pages of money show, as it stands, on a
server of its own: budgets are of the account, whatever the region."""

import os
import sys
import tempfile

os.environ["CLARY_BIN"], os.environ["CLARY_DATA"] = sys.argv[1:3]

import boto3  # noqa: E402
from pages import Console, run  # noqa: E402

REGION, ACCOUNT = "us-east-1", "123456789012"
MADE = {"notifications": "spend", "alarms": "spend-over-10-dollars", "budgets": "monthly"}


def clean():
    boto3.client("sns").delete_topic(TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:spend")
    boto3.client("cloudwatch").delete_alarms(AlarmNames=["spend-over-10-dollars"])
    boto3.client("budgets").delete_budget(AccountId=ACCOUNT, BudgetName="monthly")
    iam, role = boto3.client("iam"), {"RoleName": "stops-for-budgets"}
    try:
        iam.delete_role_policy(**role, PolicyName="stop")
        iam.delete_role(**role)
    except iam.exceptions.NoSuchEntityException:
        pass


console = Console(REGION)
codes = {section: console.snippets(section) for section in MADE}
with tempfile.TemporaryDirectory() as folder:
    for client in sys.argv[3:]:
        for section, made in MADE.items():
            run(codes[section][client], client, REGION, folder)
            page = console.page("/" + section)
            assert "data-snippet" not in page and made in page, (client, section)
        clean()
for section in ("alarms", "budgets"):
    assert console.snippets(section) == codes[section], section  # empty again
