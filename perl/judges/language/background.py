"""Runs a coroutine beside the main thread, so that Ctrl-C is always heard."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from perl.system import interrupt


def run(work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> Any:
    """The value of a coroutine, which runs in an event loop on a thread of its own.

    It works in a notebook too, where the main thread has an event loop already. The
    first Ctrl-C sets the event and waits for the coroutine to end, the second leaves at
    once. Inside an `Interrupt`, KeyboardInterrupt comes with the second Ctrl-C only, so
    there it leaves at once.

    Args:
        work: makes the coroutine; its event is set when it should end soon.
    """
    stop = asyncio.Event()
    started: concurrent.futures.Future = concurrent.futures.Future()
    ended: concurrent.futures.Future = concurrent.futures.Future()

    async def main():
        started.set_result(asyncio.get_running_loop())
        return await work(stop)

    def thread():
        try:
            ended.set_result(asyncio.run(main()))
        except BaseException as error:
            ended.set_exception(error)

    # a daemon, since the process must not wait for it when it leaves
    threading.Thread(target=thread, daemon=True).start()
    try:
        return ended.result()
    except KeyboardInterrupt:
        if not interrupt.active():
            started.result().call_soon_threadsafe(stop.set)
            concurrent.futures.wait([ended])
        raise
