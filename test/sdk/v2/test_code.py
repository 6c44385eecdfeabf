"""boto3 and clary: Git repositories and lifecycle configurations by name."""

import base64
import json
import os
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import ROLE, name

ARN = "arn:aws:sagemaker:us-east-1:123456789012:"
URL = "https://git.example.com/team/project.git"


def refused(call, text, **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response["Error"]
    assert (e["Code"], text in e["Message"]) == ("ValidationException", True), e


def clary(*args, fails=False):
    r = subprocess.run([os.environ["CLARY_BIN"], "--data", os.environ["CLARY_DATA"], "notebook", *args], capture_output=True, text=True, timeout=120)
    assert (r.returncode != 0) == fails, (args, r.stdout, r.stderr)
    return r.stderr if fails else r.stdout


def test_repository(sm):
    n = name("Repo")
    arn = f"{ARN}code-repository/{n.lower()}"
    secret = boto3.client("secretsmanager").create_secret(Name="git/" + n, SecretString='{"username": "me", "password": "x"}')["ARN"]
    made = sm.create_code_repository(CodeRepositoryName=n, GitConfig={"RepositoryUrl": URL, "Branch": "main"}, Tags=[{"Key": "team", "Value": "red"}])
    assert made == {"CodeRepositoryArn": arn, "ResponseMetadata": made["ResponseMetadata"]}
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "red"}]
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": ""}])
    refused(sm.create_code_repository, f"Cannot create a duplicate CodeRepository ({arn})", CodeRepositoryName=n, GitConfig={"RepositoryUrl": URL})
    assert sm.update_code_repository(CodeRepositoryName=n, GitConfig={"SecretArn": secret})["CodeRepositoryArn"] == arn
    d = sm.describe_code_repository(CodeRepositoryName=n)
    assert d["GitConfig"] == {"RepositoryUrl": URL, "Branch": "main", "SecretArn": secret} and d["CodeRepositoryName"] == n
    assert d["LastModifiedTime"] > d["CreationTime"]
    pages = sm.get_paginator("list_code_repositories").paginate(NameContains=n, SortBy="LastModifiedTime", SortOrder="Descending", PaginationConfig={"PageSize": 1})
    (row,) = [r for p in pages for r in p["CodeRepositorySummaryList"]]
    assert row["GitConfig"] == d["GitConfig"] and row["CodeRepositoryArn"] == arn
    refused(sm.update_code_repository, "failed to satisfy constraint", CodeRepositoryName=n, GitConfig={"SecretArn": "git/" + n})
    refused(sm.create_code_repository, "must not contain a user name", CodeRepositoryName=n + "2", GitConfig={"RepositoryUrl": "https://me:token@git.example.com/a"})
    refused(sm.create_code_repository, "failed to satisfy constraint", CodeRepositoryName=n + "2", GitConfig={"RepositoryUrl": "git@git.example.com:a/b"})
    sm.delete_code_repository(CodeRepositoryName=n)
    for call in (sm.describe_code_repository, sm.delete_code_repository, sm.update_code_repository):
        refused(call, "Cannot find CodeRepository", CodeRepositoryName=n)
    refused(sm.list_tags, "not found", ResourceArn=arn)


def b64(text):
    return [{"Content": base64.b64encode(text.encode()).decode()}]


def test_lifecycle_configuration(sm):
    n = name("Setup")
    arn = f"{ARN}notebook-instance-lifecycle-config/{n.lower()}"
    named = {"NotebookInstanceLifecycleConfigName": n}
    assert sm.create_notebook_instance_lifecycle_config(**named, OnCreate=b64("one"), OnStart=b64("two"), Tags=[{"Key": "a", "Value": "b"}])["NotebookInstanceLifecycleConfigArn"] == arn
    assert sm.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    refused(sm.create_notebook_instance_lifecycle_config, "Notebook Instance Lifecycle Config already exists.", **named)
    sm.update_notebook_instance_lifecycle_config(**named, OnStart=b64("three"))
    d = sm.describe_notebook_instance_lifecycle_config(**named)
    assert d["OnCreate"] == b64("one") and d["OnStart"] == b64("three") and d["NotebookInstanceLifecycleConfigArn"] == arn
    (row,) = sm.list_notebook_instance_lifecycle_configs(NameContains=n)["NotebookInstanceLifecycleConfigs"]
    assert row["NotebookInstanceLifecycleConfigName"] == n and row["LastModifiedTime"] == d["LastModifiedTime"]
    refused(sm.update_notebook_instance_lifecycle_config, "OnStart[0].Content is not base64", **named, OnStart=[{"Content": "#!/bin/bash"}])
    refused(sm.update_notebook_instance_lifecycle_config, "less than or equal to 16384", **named, OnStart=[{"Content": "A" * 16388}])
    refused(sm.update_notebook_instance_lifecycle_config, "less than or equal to 1", **named, OnStart=b64("a") + b64("b"))
    sm.delete_notebook_instance_lifecycle_config(**named)
    for verb in ("describe", "update", "delete"):
        refused(getattr(sm, f"{verb}_notebook_instance_lifecycle_config"), f"Unable to {verb} Notebook Instance Lifecycle Config '{arn}'. (Details: ", **named)


def test_audit(sm):
    n = name("trail")
    sm.create_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=n, OnStart=b64("echo of-a-test"))
    sm.delete_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=n)
    sm.create_code_repository(CodeRepositoryName=n, GitConfig={"RepositoryUrl": URL})
    sm.delete_code_repository(CodeRepositoryName=n)
    events = boto3.client("cloudtrail").lookup_events(LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": n}])["Events"]
    assert [(e["EventName"], e["Resources"][0]["ResourceType"]) for e in events] == [
        ("DeleteCodeRepository", "AWS::SageMaker::CodeRepository"), ("CreateCodeRepository", "AWS::SageMaker::CodeRepository"),
        ("DeleteNotebookInstanceLifecycleConfig", "AWS::SageMaker::NotebookInstanceLifecycleConfig"),
        ("CreateNotebookInstanceLifecycleConfig", "AWS::SageMaker::NotebookInstanceLifecycleConfig"),
    ]
    assert b64("echo of-a-test")[0]["Content"] not in events[-1]["CloudTrailEvent"]
    assert json.loads(events[1]["CloudTrailEvent"])["requestParameters"]["gitConfig"]["repositoryUrl"] == URL


def test_clary(sm, tmp_path):
    n = name("cli")
    secret = boto3.client("secretsmanager").create_secret(Name="git/" + n, SecretString="x")["ARN"]
    clary("repo", "add", n, URL, "--branch", "main", "--secret", "git/" + n)
    assert sm.describe_code_repository(CodeRepositoryName=n)["GitConfig"] == {"RepositoryUrl": URL, "Branch": "main", "SecretArn": secret}
    (row,) = [r for r in json.loads(clary("repo", "ls", "--json")) if r["Name"] == n]
    assert row["URL"] == URL and row["UsedBy"] == []
    assert "duplicate" in clary("repo", "add", n, URL, fails=True)
    assert n in clary("repo", "ls")
    clary("repo", "rm", n)
    assert "Cannot find" in clary("repo", "rm", n, fails=True)

    script = tmp_path / "start.sh"
    script.write_text("#!/bin/bash\necho started\n")
    clary("lifecycle", "add", n, "--on-start", str(script))
    d = sm.describe_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=n)
    assert d["OnStart"] == b64(script.read_text()) and not d.get("OnCreate")
    (row,) = [r for r in json.loads(clary("lifecycle", "ls", "--json")) if r["Name"] == n]
    assert row["OnStart"] and not row["OnCreate"]
    clary("lifecycle", "rm", n)
    assert n not in clary("lifecycle", "ls")


def test_instance_that_uses_them(sm):
    """A configuration stays while an instance would run it; lists tell which do."""
    n, nb = name("used"), name("user")
    config = {"NotebookInstanceLifecycleConfigName": n}
    sm.create_notebook_instance_lifecycle_config(**config, OnStart=b64("#!/bin/bash\necho started as $(id -u)\n"))
    refused(sm.create_notebook_instance, "Lifecycle Config", NotebookInstanceName=nb, InstanceType="ml.t3.medium", RoleArn=ROLE, LifecycleConfigName=n + "2")
    clary("create", nb, "--no-wait", "--lifecycle", n)
    try:
        refused(sm.delete_notebook_instance_lifecycle_config, f"is in use by Notebook Instance(s) [{nb}]", **config)
        (row,) = [r for r in json.loads(clary("lifecycle", "ls", "--json")) if r["Name"] == n]
        assert row["UsedBy"] == [nb]
        found = sm.list_notebook_instances(NotebookInstanceLifecycleConfigNameContains=n)["NotebookInstances"]
        assert [(i["NotebookInstanceName"], i["NotebookInstanceLifecycleConfigName"]) for i in found] == [(nb, n)]
        assert sm.describe_notebook_instance(NotebookInstanceName=nb)["NotebookInstanceLifecycleConfigName"] == n
        sm.get_waiter("notebook_instance_in_service").wait(NotebookInstanceName=nb, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
        said = boto3.client("logs").get_log_events(logGroupName="/aws/sagemaker/NotebookInstances", logStreamName=nb + "/LifecycleConfigOnStart")["events"]
        assert "started as 0" in [e["message"] for e in said], said
    finally:
        sm.stop_notebook_instance(NotebookInstanceName=nb)
        sm.get_waiter("notebook_instance_stopped").wait(NotebookInstanceName=nb, WaiterConfig={"Delay": 1, "MaxAttempts": 600})
        clary("delete", nb)
    sm.delete_notebook_instance_lifecycle_config(**config)
