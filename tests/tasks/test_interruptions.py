import signal
import threading

import pytest
from pydantic_core import PydanticSerializationError

from tasks.interruptions import Interruptions
from tests.interrupted import Interrupted

pytestmark = pytest.mark.usefixtures("hears_ctrl_c")


def test_what_pydantic_swallows_is_raised_again() -> None:
    with Interruptions() as interruptions:
        interruptions.raise_again()
        with pytest.raises(PydanticSerializationError):
            Interrupted().model_dump()
        with pytest.raises(KeyboardInterrupt):
            interruptions.raise_again()


def test_what_came_before_is_known_to_those_that_are_entered_later() -> None:
    with Interruptions():
        with pytest.raises(PydanticSerializationError):
            Interrupted().model_dump()
        with Interruptions() as within, pytest.raises(KeyboardInterrupt):
            within.raise_again()
    with Interruptions() as after:
        after.raise_again()


def test_handlers_are_called_as_they_were_and_put_back() -> None:
    heard = []
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    theirs = signal.getsignal(signal.SIGINT)
    with Interruptions() as interruptions:
        signal.raise_signal(signal.SIGINT)
        interruptions.raise_again()
    assert heard == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is theirs


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruptions() as interruptions:
        signal.raise_signal(signal.SIGINT)
        interruptions.raise_again()


def test_another_thread_than_the_first_is_none_of_its_business() -> None:
    with Interruptions() as outer:
        before = signal.getsignal(signal.SIGINT)
        thread = threading.Thread(target=lambda: Interruptions().__enter__())
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGINT) == before
        outer.raise_again()
