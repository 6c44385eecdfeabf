"""What the tests of both SDKs share; each conftest.py brings its own session."""

import boto3
import helpers
import pytest


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
