"""Runs a coroutine in another thread, so that the main thread handles Ctrl-C."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from perl.system import interrupt


class _Daemons(concurrent.futures.ThreadPoolExecutor):
    """Runs each call in a thread of its own that nobody waits for at the end.

    asyncio looks up the addresses of servers in threads. A look-up cannot be stopped,
    and can hang for minutes where the network is broken.
    """

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **options: Any
    ) -> concurrent.futures.Future:
        """Begins a call."""
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_running_or_notify_cancel()

        def call():
            try:
                future.set_result(function(*args, **options))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future


def run(work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> Any:
    """Runs a coroutine in an event loop in a new thread, and returns its result.

    This also works in a notebook, where the main thread already has an event loop. The
    first Ctrl-C sets the event and waits for the coroutine to end; the second does not
    wait. Inside an `Interrupt`, only the second Ctrl-C raises KeyboardInterrupt, so
    there it does not wait.

    Args:
        work: makes the coroutine; the event is set when it should end soon.
    """
    stop = asyncio.Event()
    started: concurrent.futures.Future = concurrent.futures.Future()
    ended: concurrent.futures.Future = concurrent.futures.Future()

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_Daemons())
        started.set_result(loop)
        return await work(stop)

    def thread():
        try:
            ended.set_result(asyncio.run(main()))
        except BaseException as error:
            ended.set_exception(error)

    # a daemon thread, so that the process does not wait for it at exit
    worker = threading.Thread(target=thread, daemon=True)
    try:
        worker.start()  # Ctrl-C may come before this returns
        _wait(ended)
        return ended.result()
    except KeyboardInterrupt:
        if not interrupt.active():
            started.result().call_soon_threadsafe(stop.set)
            _wait(ended)
        raise


def _wait(future):
    """Waits in short turns: a signal that comes just before a wait, or to another
    thread, does not end that wait, and Python handles it only between two of them."""
    while not future.done():
        concurrent.futures.wait([future], timeout=0.1)
