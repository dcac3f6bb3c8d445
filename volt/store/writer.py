"""What goes on in further threads while the store is added to: hashing and the kernel let the others go on."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread

from volt.store.tree import Node

_LARGE = 1 << 16  # bytes of a file that another thread writes: of smaller ones the interpreter's lock costs more
_TOGETHER = 1 << 20  # bytes of those that are handed over at once: each time costs a switch of threads
_AHEAD = 3  # … so often before the first has been written: that bounds the memory

Batch = list[tuple[Node, bytes]]


class Writer:
    """Writes contents by `put`, which gives their digests, and tells their nodes: small ones at once, and large ones
    besides, where they are many enough for a thread to pay."""

    def __init__(self, put: Callable[[bytes], str]) -> None:
        self._put = put
        self._batch: Batch = []
        self._size = 0
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._free = BoundedSemaphore(_AHEAD)
        self._thread: Thread | None = None
        self._failed: BaseException | None = None

    def give(self, node: Node, data: bytes) -> None:
        """The node has its digest when wait() returns, at the latest. Raises what put() has raised meanwhile."""
        self._raise()
        if len(data) < _LARGE:
            node.digest = self._put(data)
            return
        self._batch.append((node, data))
        self._size += len(data)
        if self._size >= _TOGETHER:
            self._hand_over()

    def wait(self) -> None:
        """Until all is written. Raises what put() has raised."""
        self.end()
        self._raise()
        batch, self._batch, self._size = self._batch, [], 0
        self._write(batch)

    def end(self) -> None:
        """Nothing is written any more: what was handed over is, or one of it has failed."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _hand_over(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        self._thread = self._thread or started(self._work, "writer")
        if self._thread is None:
            self._write(batch)
            return
        self._free.acquire()
        self._raise()
        self._queue.put(batch)

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                if self._failed is None:
                    self._write(batch)
            except BaseException as failed:  # noqa: BLE001 (whoever gives is told)
                self._failed = failed
            finally:
                self._free.release()

    def _write(self, batch: Batch) -> None:
        for node, data in batch:
            node.digest = self._put(data)


class Flush:
    """Something that writes to disk, already begun."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._failed: BaseException | None = None
        self._thread = started(self._work, "flush")
        if self._thread is None:
            self._work()

    @property
    def has_ended(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def wait(self) -> None:
        """Raises what it has raised."""
        if self._thread is not None:
            self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _work(self) -> None:
        try:
            self._sync()
        except BaseException as failed:  # noqa: BLE001 (whoever waits is told)
            self._failed = failed


def started(work: Callable[[], None], name: str) -> Thread | None:
    """A thread; None where the system has none left, so that whoever wants it does the work himself."""
    thread = Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
