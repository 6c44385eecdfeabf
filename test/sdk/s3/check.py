"""What the scripts share: a client and a way to expect errors."""
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client(region="us-east-1", key=None, **config):
    if key is None:
        return boto3.client("s3", region_name=region, config=Config(**config))
    return boto3.client("s3", region_name=region, aws_access_key_id=key,
                        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"], config=Config(**config))


def equal(got, want, what=""):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def refused(code, status, call, **kwargs):
    try:
        answer = call(**kwargs)
    except ClientError as e:
        equal(e.response["Error"]["Code"], code, f"code of {kwargs}: {e}")
        equal(e.response["ResponseMetadata"]["HTTPStatusCode"], status, f"status of {kwargs}")
        return e.response
    sys.exit(f"{code} expected of {kwargs}, got {answer}")


OTHER = os.environ["OTHER_KEY"]
