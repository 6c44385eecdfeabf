"""boto3: notebook instances as the API has them, on a real JupyterLab."""

import datetime

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import ROLE, Lab, name

GROUP = "/aws/sagemaker/NotebookInstances"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/"


def refused(call, text, code="ValidationException", **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response["Error"]
    assert (e["Code"], text in e["Message"]) == (code, True), e


def until(sm, waiter, nb):
    """AWS's own waiter, which would look every 30 s."""
    sm.get_waiter(waiter).wait(NotebookInstanceName=nb, WaiterConfig={"Delay": 1, "MaxAttempts": 600})


def names(sm, **filters):
    pages = sm.get_paginator("list_notebook_instances").paginate(PaginationConfig={"PageSize": 1}, **filters)
    return [n["NotebookInstanceName"] for page in pages for n in page["NotebookInstances"]]


@pytest.fixture
def instance(sm):
    """Makes instances, and has none left behind."""
    made = []

    def make(base="nb", **more):
        nb = name(base)
        made.append(nb)
        r = sm.create_notebook_instance(**{"NotebookInstanceName": nb, "InstanceType": "ml.t3.medium", "RoleArn": ROLE, **more})
        assert r["NotebookInstanceArn"] == ARN + nb
        return nb

    yield make
    for nb in made:
        try:
            status = sm.describe_notebook_instance(NotebookInstanceName=nb)["NotebookInstanceStatus"]
            if status == "Pending":
                until(sm, "notebook_instance_in_service", nb)
            if status in ("Pending", "InService"):
                sm.stop_notebook_instance(NotebookInstanceName=nb)
                until(sm, "notebook_instance_stopped", nb)
            sm.delete_notebook_instance(NotebookInstanceName=nb)
        except ClientError as e:
            assert "RecordNotFound" in str(e), e


def test_life(sm, instance):
    nb = instance("life", Tags=[{"Key": "team", "Value": "a"}])
    d = sm.describe_notebook_instance(NotebookInstanceName=nb)
    assert d["NotebookInstanceStatus"] == "Pending"
    refused(sm.stop_notebook_instance, "Status (Pending) not in ([InService]). Unable to transition to (Stopping)", NotebookInstanceName=nb)
    refused(sm.create_presigned_notebook_instance_url, "Status (Pending)", NotebookInstanceName=nb)
    refused(sm.create_notebook_instance, "Cannot create a duplicate Notebook Instance", NotebookInstanceName=nb, InstanceType="ml.t3.medium", RoleArn=ROLE)
    until(sm, "notebook_instance_in_service", nb)

    d = sm.describe_notebook_instance(NotebookInstanceName=nb)
    assert (d["NotebookInstanceStatus"], d["VolumeSizeInGB"], d["DirectInternetAccess"], d["RootAccess"]) == ("InService", 5, "Enabled", "Enabled")
    assert d["InstanceMetadataServiceConfiguration"] == {"MinimumInstanceMetadataServiceVersion": "1"}
    assert d["PlatformIdentifier"] == "notebook-al2023-v1" and d["RoleArn"] == ROLE and "FailureReason" not in d
    arn = d["NotebookInstanceArn"]
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "x", "Value": ""}])
    sm.delete_tags(ResourceArn=arn, TagKeys=["x"])
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "b"}]
    assert nb in names(sm, StatusEquals="InService") and nb in names(sm, NameContains=nb[:9].upper())
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    assert nb in names(sm, CreationTimeAfter=now - hour, LastModifiedTimeBefore=now + hour)
    assert nb not in names(sm, CreationTimeBefore=now - hour) and nb not in names(sm, StatusEquals="Stopped")
    assert names(sm, NameContains=nb, DefaultCodeRepositoryContains="x") == []

    url = sm.create_presigned_notebook_instance_url(NotebookInstanceName=nb, SessionExpirationDurationInSeconds=1800)["AuthorizedUrl"]
    Lab(url).put("mine.txt", "kept")
    refused(sm.update_notebook_instance, "Unable to transition to (Updating)", NotebookInstanceName=nb, VolumeSizeInGB=6)
    refused(sm.delete_notebook_instance, "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Deleting)", NotebookInstanceName=nb)

    sm.stop_notebook_instance(NotebookInstanceName=nb)
    assert sm.describe_notebook_instance(NotebookInstanceName=nb)["NotebookInstanceStatus"] in ("Stopping", "Stopped")
    until(sm, "notebook_instance_stopped", nb)
    sm.update_notebook_instance(NotebookInstanceName=nb, VolumeSizeInGB=6, InstanceType="ml.t3.large")
    until(sm, "notebook_instance_stopped", nb)
    d = sm.describe_notebook_instance(NotebookInstanceName=nb)
    assert (d["VolumeSizeInGB"], d["InstanceType"]) == (6, "ml.t3.large")
    refused(sm.update_notebook_instance, "cannot be made smaller", NotebookInstanceName=nb, VolumeSizeInGB=5)

    sm.start_notebook_instance(NotebookInstanceName=nb)
    until(sm, "notebook_instance_in_service", nb)
    assert lines(nb), "JupyterLab said nothing"
    assert Lab(sm.create_presigned_notebook_instance_url(NotebookInstanceName=nb)["AuthorizedUrl"]).get("mine.txt") == "kept"
    sm.stop_notebook_instance(NotebookInstanceName=nb)
    until(sm, "notebook_instance_stopped", nb)
    sm.delete_notebook_instance(NotebookInstanceName=nb)
    until(sm, "notebook_instance_deleted", nb)
    refused(sm.describe_notebook_instance, "RecordNotFound", NotebookInstanceName=nb)
    refused(sm.list_tags, "not found", ResourceArn=arn)
    assert names(sm, NameContains=nb) == []


def lines(nb):
    events = boto3.client("logs").get_log_events(logGroupName=GROUP, logStreamName=nb + "/jupyter.log", startFromHead=True)["events"]
    return [e["message"] for e in events]


def test_role_that_may_not_be_passed(sm):
    """A role whose trust policy does not name SageMaker."""
    iam, role = boto3.client("iam"), name("Untrusting")
    iam.create_role(RoleName=role, AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}')
    refused(sm.create_notebook_instance, "", NotebookInstanceName=name("nb"), InstanceType="ml.t3.medium", RoleArn=f"arn:aws:iam::123456789012:role/{role}")


def test_bad_input(sm):
    good = {"InstanceType": "ml.t3.medium", "RoleArn": ROLE}
    refused(sm.create_notebook_instance, "Member must satisfy regular expression pattern: ", NotebookInstanceName="no_underscores", **good)
    refused(sm.create_notebook_instance, "Member must satisfy enum value set", NotebookInstanceName="nb", InstanceType="ml.none", RoleArn=ROLE)
    refused(sm.create_notebook_instance, "Notebook Instance Lifecycle Config does not exist", NotebookInstanceName="nb", LifecycleConfigName="none", **good)
    refused(sm.create_notebook_instance, "for notebook instance usage' is 0 Instances", code="ResourceLimitExceeded", NotebookInstanceName="nb", InstanceType="ml.p3.2xlarge", RoleArn=ROLE)
    for call in (sm.describe_notebook_instance, sm.start_notebook_instance, sm.stop_notebook_instance, sm.delete_notebook_instance, sm.update_notebook_instance, sm.create_presigned_notebook_instance_url):
        refused(call, "RecordNotFound", NotebookInstanceName=name("absent"))
