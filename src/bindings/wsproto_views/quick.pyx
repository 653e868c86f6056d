# cython: language_level=3
"""The second source of ``quick.py``, which says what these do.

``send()`` and ``recv()`` do not block here, and are done before another thread could have taken over:
so they keep the lock of the interpreter, whose handing back and forth takes longer than they do.
Only a large write lets go of it.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject

__all__ = [
    "READY",
    "Ready",
    "Runner",
    "Suspended",
    "Timer",
    "get_ident",
    "has_poll",
    "has_timer",
    "has_wait",
    "is_only_ready",
    "monotonic",
    "part",
    "poll",
    "receive",
    "recv",
    "send",
    "start",
]

cdef extern from *:
    """
    #ifdef _WIN32
    static int has_calls = 0;
    static Py_ssize_t call_recv(int fd, char *to, Py_ssize_t size) { return -1; }
    static Py_ssize_t call_send(int fd, const char *from, Py_ssize_t size) { return -1; }
    static int is_nothing(void) { return 0; }
    #else
    #include <errno.h>
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0 /* the interpreter ignores the signal */
    #endif
    static int has_calls = 1;
    static Py_ssize_t call_recv(int fd, char *to, Py_ssize_t size)
    {
        return recv(fd, to, (size_t)size, 0);
    }
    static Py_ssize_t call_send(int fd, const char *from, Py_ssize_t size)
    {
        return send(fd, from, (size_t)size, MSG_NOSIGNAL);
    }
    static int is_nothing(void)
    {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    #endif
    """
    bint has_calls
    Py_ssize_t call_recv(int fd, char *to, Py_ssize_t size) nogil
    Py_ssize_t call_send(int fd, const char *data, Py_ssize_t size) nogil
    bint is_nothing() nogil

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(PyObject *iter, PyObject *arg, PyObject **result)
    PyObject *PyErr_SetFromErrno(PyObject *kind) except NULL
    PyObject *PyExc_OSError
    PyObject *Py_None
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    size_t PyThread_get_thread_ident()

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/epoll.h>
    #include <sys/timerfd.h>
    #include <time.h>
    #include <unistd.h>
    static int has_linux = 1;
    static double read_clock(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }
    static int open_timer(void)
    {
        return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    }
    static int set_timer(int fd, double at)
    {
        struct itimerspec when = {{0, 0}, {0, 0}};
        when.it_value.tv_sec = (time_t)at;
        when.it_value.tv_nsec = (long)((at - (double)when.it_value.tv_sec) * 1e9);
        return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
    }
    static void close_timer(int fd) { close(fd); }
    #define READY 128
    #define SPACE (READY * sizeof(struct epoll_event))
    static int ask_epoll(int epoll, void *events) { return epoll_wait(epoll, events, READY, 0); }
    static int fd_of(void *events, Py_ssize_t at)
    {
        return ((struct epoll_event *)events)[at].data.fd;
    }
    static int events_of(void *events, Py_ssize_t at)
    {
        return (int)((struct epoll_event *)events)[at].events;
    }
    static int wait_for(int epoll, int fd)
    {
        struct epoll_event events[2];
        return epoll_wait(epoll, events, 2, -1) == 1 && events[0].data.fd == fd;
    }
    #else
    static int has_linux = 0;
    static double read_clock(void) { return 0.0; }
    static int open_timer(void) { return -1; }
    static int set_timer(int fd, double at) { return -1; }
    static void close_timer(int fd) { }
    #define READY 1
    #define SPACE 1
    static int ask_epoll(int epoll, void *events) { return 0; }
    static int fd_of(void *events, Py_ssize_t at) { return -1; }
    static int events_of(void *events, Py_ssize_t at) { return 0; }
    static int wait_for(int epoll, int fd) { return 0; }
    #endif
    """
    bint has_linux
    double read_clock() nogil
    enum: _READY "READY"
    size_t SPACE
    int ask_epoll(int epoll, void *events) nogil
    int fd_of(void *events, Py_ssize_t at) nogil
    int events_of(void *events, Py_ssize_t at) nogil
    int open_timer() nogil
    int set_timer(int fd, double at) nogil
    void close_timer(int fd) nogil
    bint wait_for(int epoll, int fd) nogil

cdef extern from *:
    """
    #include <pythread.h>
    #ifdef _WIN32
    static int has_poll_call = 0;
    static int wait_for_two(int fd, int mask, int other, int timeout) { return 0; }
    #else
    #include <poll.h>
    static int has_poll_call = 1;
    static int wait_for_two(int fd, int mask, int other, int timeout)
    {
        struct pollfd places[2] = {{other, POLLIN, 0}, {fd, (short)mask, 0}};
        if (poll(places, mask ? 2 : 1, timeout) <= 0)
            return 0;
        return places[1].revents;
    }
    #endif
    """
    bint has_poll_call
    int wait_for_two(int fd, int mask, int other, int timeout) nogil
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    int PyThread_acquire_lock(PyThread_type_lock lock, int wait) nogil
    void PyThread_release_lock(PyThread_type_lock lock) nogil

from cpython.ref cimport Py_DECREF

import os

import time

has_timer = has_linux != 0
has_wait = has_linux != 0
has_poll = has_poll_call != 0

READY = _READY

cdef Py_ssize_t _SMALL = 1 << 14  # bytes: less is copied sooner than a view is made
cdef Py_ssize_t _LARGE = 1 << 14  # bytes: to copy as much into the system takes a while


cpdef size_t get_ident():
    return PyThread_get_thread_ident()


cpdef double monotonic():
    return read_clock() if has_linux else time.monotonic()


cpdef part(buffer, Py_ssize_t size):
    cdef Py_buffer view
    if size > _SMALL:
        return buffer[:size]
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<char *> view.buf, min(size, view.len))
    finally:
        PyBuffer_Release(&view)


cpdef receive(sock, int fd, buffer):
    cdef Py_buffer view
    cdef Py_ssize_t size
    if not has_calls:
        try:
            return buffer[: sock.recv_into(buffer)]
        except (BlockingIOError, InterruptedError):
            return None
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    size = call_recv(fd, <char *> view.buf, view.len)
    try:
        if size < 0:
            if not is_nothing():
                PyErr_SetFromErrno(PyExc_OSError)
            return None
        if size <= _SMALL:
            return PyBytes_FromStringAndSize(<char *> view.buf, size)
    finally:
        PyBuffer_Release(&view)
    return buffer[:size]


cpdef recv(sock, int fd, Py_ssize_t size):
    cdef char room[1 << 14]
    if size > <Py_ssize_t> sizeof(room) or not has_calls:
        try:
            return sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
    size = call_recv(fd, room, size)
    if size < 0:
        if not is_nothing():
            PyErr_SetFromErrno(PyExc_OSError)
        return None
    return PyBytes_FromStringAndSize(room, size)


cpdef Py_ssize_t send(sock, int fd, bytes data) except -2:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if size > _LARGE or not has_calls:
        try:
            return sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
    size = call_send(fd, PyBytes_AS_STRING(data), size)
    if size < 0:
        if not is_nothing():
            PyErr_SetFromErrno(PyExc_OSError)
        return 0
    return size


cdef class Suspended:
    def __init__(self, given):
        self.given = given


cpdef object start(coroutine):
    cdef PyObject *result = NULL
    cdef PySendResult outcome = PyIter_Send(<PyObject *> coroutine, Py_None, &result)
    if outcome == PYGEN_ERROR:
        _raise()
    value = <object> result
    Py_DECREF(value)  # it was ours
    return Suspended(value) if outcome == PYGEN_NEXT else value


cdef PyObject *_raise() except NULL:
    return NULL  # the error is set already


cdef class Runner:
    cpdef _run(self, session, driver):
        raise NotImplementedError("a subclass's")

    cdef _run_in(self, context, session, driver):
        PyContext_Enter(context)
        try:
            self._run(session, driver)
        finally:
            PyContext_Exit(context)


cdef class Timer:
    def __cinit__(self):
        self.fd = -1

    def __init__(self):
        self.fd = open_timer()
        if self.fd < 0:
            PyErr_SetFromErrno(PyExc_OSError)

    cpdef set(self, double at):
        if set_timer(self.fd, at):
            PyErr_SetFromErrno(PyExc_OSError)

    cpdef close(self):
        if self.fd >= 0:
            close_timer(self.fd)
            self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            close_timer(self.fd)


cdef class Ready:
    # As the kernel has it, for a list of tuples takes as long as asking.

    def __cinit__(self):
        self._found = PyMem_Malloc(SPACE)
        if self._found is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._found)

    cpdef Py_ssize_t ask(self, epoll, int fd) except -1:
        self._count = 0
        cdef int count = ask_epoll(fd, self._found)
        if count < 0:
            if not is_nothing():
                PyErr_SetFromErrno(PyExc_OSError)
            return 0
        self._count = count
        return count

    cpdef int fd(self, Py_ssize_t at) except -1:
        if not 0 <= at < self._count:
            raise IndexError(at)
        return fd_of(self._found, at)

    cpdef int events(self, Py_ssize_t at) except -1:
        if not 0 <= at < self._count:
            raise IndexError(at)
        return events_of(self._found, at)


cpdef bint is_only_ready(int epoll, int fd):
    cdef bint only
    with nogil:
        only = wait_for(epoll, fd)
    return only


# A thread that wants the interpreter's lock wakes up every 5 ms to ask for it. Where a hundred want
# it, that is most of what they do. So one of those that come from poll() asks for it, and the
# others wait for this lock, which wakes them once.
cdef PyThread_type_lock _turnstile = NULL


def _set_up_turnstile():
    global _turnstile
    _turnstile = PyThread_allocate_lock()
    if _turnstile is NULL:
        raise MemoryError


_set_up_turnstile()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_set_up_turnstile)  # its holder may not be there


cpdef int poll(int fd, int mask, int other, int timeout) except -1:
    cdef int ready
    with nogil:
        ready = wait_for_two(fd, mask, other, timeout)
        PyThread_acquire_lock(_turnstile, 1)
    PyThread_release_lock(_turnstile)
    return ready
