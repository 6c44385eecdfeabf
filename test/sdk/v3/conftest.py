import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fixtures import pytest_collection_modifyitems, pytest_configure, s3, sm, train  # noqa: E402, F401


@pytest.fixture(scope="session")
def session():
    from sagemaker.core.helper.session_helper import Session

    return Session()
