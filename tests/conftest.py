"""Fixtures that several parts of the tests use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import Hub, HubServer
from tests.modelscope_server import ModelScope

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: a test process on each core, one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: several processes that share the files then end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """As in a terminal: what a shell starts in the background, and all that starts in turn, has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
