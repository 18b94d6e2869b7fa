import os
import signal
import threading

import pytest
from accelerate import Accelerator

from trainers.distributed.preemption import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_is_heard_and_the_handler_put_back(number):
    before = signal.getsignal(number)
    with StopRequest(Accelerator(cpu=True)) as request:
        assert not request.agreed()
        os.kill(os.getpid(), number)
        assert request.agreed()
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_nothing_is_caught():
    before = signal.getsignal(signal.SIGTERM)
    heard = []

    def enter() -> None:
        with StopRequest(Accelerator(cpu=True)) as request:
            heard.append(request.agreed())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert heard == [False] and signal.getsignal(signal.SIGTERM) is before
