"""Run a graph of tasks in a few threads, each as soon as those that it needs are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event


def run_graph(
    needs: Mapping[int, frozenset[int]],
    perform: Callable[[int], None],
    *,
    workers: int,
    cancel: Event,
) -> None:
    """Perform every task once; tasks that wait for nothing run in the order of their numbers.

    Where one raises, or the caller is interrupted, ``cancel`` is set, those that run are waited
    for, no others start, and the first exception passes on.
    """
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="build") as pool:
        graph = _Graph(needs, pool, perform, workers)
        try:
            graph.run()
        finally:
            if not graph.finished:
                # The pool waits for what still runs; this tells it to end soon.
                cancel.set()


class _Graph:
    def __init__(
        self,
        needs: Mapping[int, frozenset[int]],
        pool: ThreadPoolExecutor,
        perform: Callable[[int], None],
        workers: int,
    ) -> None:
        self._waiting = dict(needs)
        self._pool = pool
        self._perform = perform
        self._workers = workers
        self._running: dict[Future[None], int] = {}
        self._done: set[int] = set()

    @property
    def finished(self) -> bool:
        return not self._waiting and not self._running

    def run(self) -> None:
        while not self.finished:
            self._start()
            finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                self._done.add(self._running.pop(future))

    def _start(self) -> None:
        free = self._workers - len(self._running)
        ready = [task for task in sorted(self._waiting) if self._waiting[task] <= self._done]
        for task in ready[:free]:
            del self._waiting[task]
            self._running[self._pool.submit(self._perform, task)] = task
        if not self._running:
            raise AssertionError("the tasks wait for each other")
