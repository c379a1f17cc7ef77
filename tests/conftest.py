"""What tests of several parts share."""

import os
import resource
import signal
from contextlib import contextmanager

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each of as many processes as there are cores

import torch  # after the number of its threads is said
import torch.utils.deterministic
from hypothesis import settings

settings.register_profile("netspec", deadline=None)  # no test is about time, which others on the machine may take
settings.load_profile("netspec")


@pytest.fixture(autouse=True)
def any_algorithm():
    """Exact runs ask for deterministic algorithms for the rest of the process: here, of the test."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture
def file_limit():
    """Let no file grow beyond some bytes: what a full disk does to a writer."""

    @contextmanager
    def file_limit(size):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return file_limit
