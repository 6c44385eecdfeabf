"""What the tests of both SDKs share; each conftest.py brings its own session."""

import itertools
import os

import boto3
import helpers
import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes, and waits for most of them")


def pytest_collection_modifyitems(items):
    """Has each worker begin with what takes longest: pytest-xdist gives each an equal share of the list."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    rest = iter([item for item in items if item not in long])
    order = []
    for i in range(workers):
        size = (i + 1) * len(items) // workers - i * len(items) // workers
        share = long[i::workers]
        order += share + list(itertools.islice(rest, max(0, size - len(share))))
    items[:] = order + list(rest)


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
