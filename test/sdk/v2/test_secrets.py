"""boto3: Secrets Manager, as scripts that keep a token for Git use it."""

import base64
import json
import os
import pathlib
import secrets
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from helpers import name

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"


@pytest.fixture(scope="module")
def sec():
    return boto3.client("secretsmanager")


def refused(call, code, text="", **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response
    assert (e["Error"]["Code"], text in e["Error"]["Message"], e["ResponseMetadata"]["HTTPStatusCode"]) == (code, True, 400), e["Error"]


def test_life(sec):
    n = "git/" + name("life")
    made = sec.create_secret(Name=n, SecretString=json.dumps({"username": "me", "password": "one"}), Description="of a test", Tags=[{"Key": "team", "Value": "red"}])
    assert made["ARN"].startswith(ARN + n + "-") and len(made["ARN"]) == len(ARN + n) + 7
    for by in (n, made["ARN"], ARN + n):
        got = sec.get_secret_value(SecretId=by)
        assert json.loads(got["SecretString"])["password"] == "one" and got["VersionId"] == made["VersionId"] and got["VersionStages"] == ["AWSCURRENT"]
        assert "SecretBinary" not in got
    refused(sec.create_secret, "ResourceExistsException", f"The operation failed because the secret {n} already exists.", Name=n, SecretString="x")

    token = str(uuid.uuid4())
    for _ in range(2):  # a request that is sent again is one version
        put = sec.put_secret_value(SecretId=n, SecretBinary=b"\x00two", ClientRequestToken=token)
        assert put["VersionId"] == token and put["VersionStages"] == ["AWSCURRENT"]
    assert sec.get_secret_value(SecretId=n)["SecretBinary"] == b"\x00two"
    assert json.loads(sec.get_secret_value(SecretId=n, VersionStage="AWSPREVIOUS")["SecretString"])["password"] == "one"
    refused(sec.put_secret_value, "ResourceExistsException", "ClientRequestToken", SecretId=n, SecretString="other", ClientRequestToken=token)
    sec.update_secret(SecretId=n, SecretString="three", Description="changed")
    versions = sec.list_secret_version_ids(SecretId=n, IncludeDeprecated=True)["Versions"]
    assert [v.get("VersionStages") for v in versions] == [["AWSCURRENT"], ["AWSPREVIOUS"], None]

    sec.tag_resource(SecretId=n, Tags=[{"Key": "more", "Value": ""}])
    sec.untag_resource(SecretId=n, TagKeys=["team"])
    d = sec.describe_secret(SecretId=n)
    assert d["Description"] == "changed" and d["Tags"] == [{"Key": "more", "Value": ""}] and "DeletedDate" not in d
    assert sorted(sum(d["VersionIdsToStages"].values(), [])) == ["AWSCURRENT", "AWSPREVIOUS"]

    gone = sec.delete_secret(SecretId=n, RecoveryWindowInDays=7)
    days = (gone["DeletionDate"] - sec.describe_secret(SecretId=n)["DeletedDate"]).total_seconds() / 86400
    assert abs(days - 7) < 0.001
    refused(sec.get_secret_value, "InvalidRequestException", "marked for deletion", SecretId=n)
    refused(sec.create_secret, "InvalidRequestException", "already scheduled for deletion", Name=n, SecretString="x")
    sec.restore_secret(SecretId=n)
    assert sec.get_secret_value(SecretId=n)["SecretString"] == "three"
    sec.delete_secret(SecretId=n, ForceDeleteWithoutRecovery=True)
    refused(sec.get_secret_value, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", SecretId=n)
    again = sec.create_secret(Name=n, SecretString="new")
    assert again["ARN"] != made["ARN"]
    sec.delete_secret(SecretId=n, ForceDeleteWithoutRecovery=True)


def test_list(sec):
    base = name("list")
    made = [f"{base}/{n}" for n in "abc"]
    for n in made:
        sec.create_secret(Name=n, SecretString="x", Tags=[{"Key": base, "Value": n}])
    pages = sec.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [base]}], SortOrder="desc", PaginationConfig={"PageSize": 1})
    found = [s for p in pages for s in p["SecretList"]]
    assert [s["Name"] for s in found] == made[::-1] and not any("SecretString" in s for s in found)
    assert [s["Name"] for s in sec.list_secrets(Filters=[{"Key": "tag-value", "Values": [made[1]]}])["SecretList"]] == [made[1]]
    for n in made:
        sec.delete_secret(SecretId=n, ForceDeleteWithoutRecovery=True)


def test_policies(sec):
    mine, other = name("mine"), name("other")
    for n in (mine, other):
        sec.create_secret(Name=n, SecretString="of " + n)
    iam, role = boto3.client("iam"), name("reader")
    trust = {"Statement": {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]

    def allow(**statement):
        policy = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"} | statement}
        iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=json.dumps(policy))

    c = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    as_role = boto3.client("secretsmanager", aws_access_key_id=c["AccessKeyId"], aws_secret_access_key=c["SecretAccessKey"], aws_session_token=c["SessionToken"])

    def reads(n):
        try:
            return as_role.get_secret_value(SecretId=n)["SecretString"] == "of " + n
        except ClientError as e:
            assert e.response["Error"]["Code"] == "AccessDeniedException" and "secretsmanager:GetSecretValue" in str(e), e
            return False

    assert not reads(mine)
    allow(Resource=f"{ARN}{mine}-??????")
    assert reads(mine) and not reads(other)
    assert as_role.get_secret_value(SecretId=ARN + mine)["Name"] == mine
    refused(as_role.list_secrets, "AccessDeniedException")
    refused(as_role.put_secret_value, "AccessDeniedException", SecretId=mine, SecretString="x")
    allow(Condition={"StringEquals": {"secretsmanager:ResourceTag/SageMaker": "true"}})
    assert not reads(mine)
    sec.tag_resource(SecretId=mine, Tags=[{"Key": "SageMaker", "Value": "true"}])
    assert reads(mine) and not reads(other)
    allow(Action="secretsmanager:CreateSecret", Resource=f"{ARN}{mine}/*")
    as_role.create_secret(Name=mine + "/new", SecretString="x")
    refused(as_role.create_secret, "AccessDeniedException", Name=other + "/new", SecretString="x")


def test_value_stays_secret(sec):
    """A value is in no file of the server, in no audit entry, and in no refusal."""
    n, value = name("hidden"), "value-" + secrets.token_hex(16)
    sec.create_secret(Name=n, SecretString=value)
    sec.put_secret_value(SecretId=n, SecretBinary=value.encode())
    with pytest.raises(ClientError) as failed:
        sec.put_secret_value(SecretId=n, SecretString=value * 4000)
    assert value not in str(failed.value)
    trail = boto3.client("cloudtrail")
    events = trail.lookup_events(LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": n}])["Events"]
    assert [e["EventName"] for e in events] == ["PutSecretValue", "CreateSecret"]
    for e in events:
        text = e["CloudTrailEvent"]
        assert value not in text and json.loads(text)["eventSource"] == "secretsmanager.amazonaws.com"
        assert e["Resources"][0]["ResourceType"] == "AWS::SecretsManager::Secret"
    data = pathlib.Path(os.environ["CLARY_DATA"])
    forms = (value.encode(), base64.b64encode(value.encode()))
    looked = 0
    for folder, below, files in os.walk(data):  # what goes meanwhile is passed over
        # environments, and the disks of what others run meanwhile, are not the server's
        below[:] = [b for b in below if b not in ("runtimes", "tasks", "volumes")]
        for path in (pathlib.Path(folder, f) for f in files):
            try:
                if not path.is_file():
                    continue
                content = path.read_bytes()
            except (FileNotFoundError, PermissionError):
                continue
            looked += 1
            assert not any(f in content for f in forms), path
    assert looked > 5 and (data / "keys" / "secrets.key").stat().st_mode & 0o777 == 0o600


def test_what_is_not_there(sec):
    n = name("rotated")
    sec.create_secret(Name=n, SecretString="x")
    refused(sec.rotate_secret, "UnsupportedOperation", "secretsmanager:RotateSecret", SecretId=n)
    refused(sec.get_random_password, "UnsupportedOperation")
    refused(sec.create_secret, "InvalidParameterException", "AddReplicaRegions", Name=n + "2", SecretString="x", AddReplicaRegions=[{"Region": "eu-west-1"}])
    refused(sec.describe_secret, "ResourceNotFoundException", SecretId=n + "2")
