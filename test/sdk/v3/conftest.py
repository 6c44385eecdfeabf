import os
import sys

import boto3
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import helpers  # noqa: E402


@pytest.fixture(scope="session")
def session():
    from sagemaker.core.helper.session_helper import Session

    return Session()


@pytest.fixture(scope="session")
def train(session, tmp_path_factory):
    """The S3 prefix with training data."""
    folder = tmp_path_factory.mktemp("train")
    return session.upload_data(helpers.training_csv(str(folder)), key_prefix=helpers.name("data"))


@pytest.fixture(scope="session")
def sm():
    return boto3.client("sagemaker")


@pytest.fixture(scope="session")
def s3():
    return boto3.client("s3")
