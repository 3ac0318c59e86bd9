"""What all tests of a run share, whichever of its processes they run in: servers, a demo.

pytest-xdist runs the tests in worker processes. The process that controls them holds what is shared,
starts it when the first test asks for it, and ends it after the last one.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import cache
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from threading import Lock, Thread
from typing import Any, NamedTuple, TypeVar, cast

from .maven import ServerError

T = TypeVar("T")

#: A function, importable by name, and its arguments: the same for the same shared thing.
_Request = tuple[Callable[..., AbstractContextManager[Any]], tuple[Any, ...]]


class Address(NamedTuple):
    """Where other processes of the run ask: a Unix socket, and the key that it wants."""

    path: str
    key: bytes


class SharedThings:
    """Enters each context manager once; `close` leaves them all, at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entered: dict[_Request, Future[Any]] = {}
        self._managers: list[AbstractContextManager[Any]] = []
        self._key = secrets.token_bytes(32)
        self._listener: Listener | None = None

    def get(self, request: _Request) -> Any:
        """The value of the context manager, entered by whoever asks first; the others wait."""
        with self._lock:
            first = request not in self._entered
            entered = self._entered.setdefault(request, Future())
        if first:
            start, arguments = request
            manager = start(*arguments)
            try:
                entered.set_result(manager.__enter__())
            except BaseException as error:
                entered.set_exception(error)
            else:
                self._managers.append(manager)
        return entered.result()

    def serve(self) -> Address:
        """Answer other processes from now on."""
        if self._listener is None:
            self._listener = Listener(family="AF_UNIX", authkey=self._key)
            Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return Address(cast(str, self._listener.address), self._key)

    def close(self) -> None:
        """End everything that was started."""
        if self._listener is not None:
            self._listener.close()
        if self._managers:
            with ThreadPoolExecutor(len(self._managers)) as pool:
                list(pool.map(lambda manager: manager.__exit__(None, None, None), self._managers))

    def _accept(self, listener: Listener) -> None:
        # Closing the listener ends the wait with an OSError.
        with suppress(OSError):
            while True:
                with suppress(AuthenticationError, EOFError):
                    connection = listener.accept()
                    Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection:
            request = connection.recv()
            try:
                answer = self.get(request)
            except Exception as error:  # Shown by the test that asked.
                answer = error if isinstance(error, ServerError) else ServerError(repr(error))
            connection.send(answer)


class _Here:
    """How this process gets what is shared."""

    things: SharedThings | None = None
    address: Address | None = None


def hold(things: SharedThings) -> None:
    """This process holds what is shared."""
    _Here.things = things


def ask_at(address: Address) -> None:
    """Another process holds it."""
    _Here.address = address


def shared(start: Callable[..., AbstractContextManager[T]], *arguments: Any) -> T:
    """The value of ``start(*arguments)``, entered once for the whole run. The value must be
    picklable, such as a `NamedTuple` of addresses."""
    return cast(T, _get((start, arguments)))


@cache
def _get(request: _Request) -> Any:
    if _Here.address is None:
        assert _Here.things is not None, "tests/conftest.py says who holds what is shared"
        return _Here.things.get(request)
    with Client(_Here.address.path, authkey=_Here.address.key) as connection:
        connection.send(request)
        answer = connection.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer
