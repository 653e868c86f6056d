"""A binding for `selectors`: the views of every loop, served by one thread and no runtime."""

import socket
import threading
import time
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

from wsproto_core import Transport
from wsproto_views import AsyncView, Service, dispatch


class WebSocketView(AsyncView):
    """A view on selectors."""

    _is_library = True


class Cancelled(BaseException):
    """Told to a hook that overran its time."""


class Until:
    """The one thing that coroutines wait for here: that a predicate holds."""

    def __init__(self, predicate):
        self.predicate = predicate

    def __await__(self):
        yield self.predicate


class Driver:
    """Runs one session over one socket."""

    server = None
    cancelled = False  # a hook that swallows its cancellation may go on
    now = staticmethod(time.monotonic)

    def __init__(self, loop, sock, peer):
        self.loop, self.sock, self.peer, self.thread = loop, sock, peer, threading.get_ident()
        self.tasks = {}  # coroutines, and the predicate that each waits for
        self.unsent, self.watched, self.may_write = bytearray(), 0, True
        self.session = loop.service.session(self)

    # ------------------------------------------------ what views and dispatch ask for

    def is_here(self):
        return threading.get_ident() == self.thread

    def publish(self):
        """Nothing: everybody has a turn after each step of the loop."""

    flush_soon = flush = publish

    def post(self, action):
        self.loop.post(action)

    async def settle(self, predicate):
        if not predicate():
            await Until(predicate)

    async def checkpoint(self):
        await Until(lambda: True)

    def is_released(self):
        return self.sock.fileno() < 0 and self.session.is_finished()

    # ------------------------------------------------ what the loop tells

    def read(self):
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            self.close(error)
        else:
            now = self.now()
            self.session.received(data, now) if data else self.session.eof(now)

    def turn(self):
        """Carry out what the session wants."""
        self.session.tick(self.now())
        if self.session.take_cancel():
            for task in list(self.tasks):
                self.step(task, task.throw, Cancelled())
        while self.run():
            pass
        if self.sock.fileno() >= 0:
            self.write()
            self.obey()

    def run(self):
        """Run what can be run now; false if there was nothing."""
        due = [task for task, predicate in self.tasks.items() if predicate()]
        if self.session.has_call():
            due.append(dispatch(self.session, self))
        for task in due:
            self.step(task, task.send, None)
        return bool(due)

    def step(self, task, resume, value):
        try:
            self.tasks[task] = resume(value)
        except (StopIteration, Cancelled):
            self.tasks.pop(task, None)

    def write(self):
        self.unsent += b"".join(self.session.take_output())
        try:
            if self.unsent:
                del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            return self.close(error)
        return self.session.write_blocked(len(self.unsent), self.now())

    def obey(self):
        """Do to the socket what `transport` and `wants_read` say."""
        wanted, waits = self.session.transport, bool(self.unsent)
        if wanted is Transport.ABORT or (wanted is Transport.CLOSE and not waits):
            return self.close(None)
        if wanted is Transport.SHUT_WRITE and self.may_write and not waits:
            self.may_write = False
            self.sock.shutdown(socket.SHUT_WR)
        reads = self.session.wants_read and wanted is not Transport.CLOSE
        return self.watch(reads * EVENT_READ | waits * EVENT_WRITE)

    def watch(self, events):
        selector = self.loop.selector
        if events and not self.watched:
            selector.register(self.sock, events, self)
        elif events != self.watched:
            selector.modify(self.sock, events, self) if events else selector.unregister(self.sock)
        self.watched = events

    def close(self, error):
        if self.sock.fileno() >= 0:
            self.watch(0)
            self.sock.close()
            self.session.lost(error, self.now())


class Loop:
    """Waits for sockets, deadlines and other threads, then gives everybody a turn."""

    def __init__(self, views, listener, on_request=None):
        self.service, self.listener = Service(views, on_request), listener
        self.selector, self.drivers, self.posted = DefaultSelector(), set(), []
        self.woken, self.waker = socket.socketpair()
        self.selector.register(listener, EVENT_READ)
        self.selector.register(self.woken, EVENT_READ)

    def post(self, action):
        """Run `action` here, from any thread."""
        self.posted.append(action)
        self.waker.send(b".")

    def run(self):
        with self.selector, self.woken, self.waker:
            while True:
                self.step()

    def step(self):
        due = [at for item in self.drivers if (at := item.session.next_deadline()) is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        for key, events in self.selector.select(wait):
            if key.fileobj is self.listener:
                sock, peer = self.listener.accept()
                sock.setblocking(False)
                self.drivers.add(Driver(self, sock, peer))
            elif key.fileobj is self.woken:
                self.woken.recv(4096)
            elif events & EVENT_READ:
                key.data.read()
        while self.posted:
            self.posted.pop(0)()
        for driver in list(self.drivers):
            driver.turn()
            if driver.is_released():
                self.drivers.discard(driver)
                self.service.forget(driver)


class Echo(WebSocketView):
    async def on_receive(self, message, opcode):
        if message == b"ping":
            await self.ping()  # the loop goes on while a hook waits
        await self.send(message, opcode)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 8765)) as listener:
        Loop(Echo, listener).run()
