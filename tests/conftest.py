"""Fixtures that several parts of the tests use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import Hub, HubServer
from tests.modelscope_server import ModelScope

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: a test process on each core, one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


RENDEZVOUS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def no_rendezvous_is_left_behind() -> Iterator[None]:
    """Libraries that some tests compare with set what torchrun would; processes of later tests would believe it."""
    before = {name: os.environ.get(name) for name in RENDEZVOUS}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def shared_data() -> Path:
    """Real problems and answers, beside the repository on some machines; skips where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs real data in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hugging Face hub on loopback, empty."""
    with HubServer(Hub()) as server:
        yield server.hub


@pytest.fixture
def modelscope() -> Iterator[ModelScope]:
    """ModelScope on loopback, empty."""
    with HubServer(ModelScope()) as server:
        yield server.hub


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return Path(__file__).resolve().parents[1]
