"""The option that writes the stored plans anew: `pytest tests/plans --renew`."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--renew", action="store_true", help="write the stored plans anew, to be reviewed as a diff")


@pytest.fixture
def renew(request):
    # Without this file on the command line pytest has not asked it for options.
    return request.config.getoption("--renew", default=False)
