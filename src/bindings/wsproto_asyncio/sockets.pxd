# The C types of sockets.py for the compiled build. Nothing is decided here.

import cython

from .driver cimport Driver
from wsproto_views.tls cimport Tls as CTls
from wsproto_views.buffers cimport join_small
from wsproto_views.quick cimport part, receive, send


cdef Py_ssize_t _TURN
cdef int READ, WRITE


cdef class SocketDriver(Driver):
    cdef object _socket
    cdef object _buffer
    cdef object _part
    cdef Py_ssize_t _asked
    cdef bytes _came
    cdef object _watch
    cdef int _fd
    cdef CTls _tls
    cdef object _backlog
    cdef object _plain
    cdef bint _writing
    cdef bint _over
    cdef bint _shut

    cpdef take_in(self, int events)
    cpdef handle(self)
    cdef _want(self, int events)
    @cython.locals(large=bint)
    cdef _receive(self)
    cdef _received(self, data)
    @cython.locals(size=Py_ssize_t, taken=Py_ssize_t)
    cdef _take(self, data, bint thorough)
    cpdef _call_at(self, double at)
    cdef _received_end(self)
    cdef bint _is_deaf(self) except -1
    cdef bytes _decrypt(self, CTls tls, bytes data)
    cdef _received_records(self, CTls tls, data)
    @cython.locals(was_open=bint, more=bint)
    cdef _received_through(self, CTls tls, bytes data, bint ended)

    @cython.locals(output=list)
    cpdef _write(self)

    @cython.locals(sent=Py_ssize_t, size=Py_ssize_t)
    cdef _send(self, list output)
    cdef _send_backlog(self)
    cdef _write_through(self, CTls tls, list output)
    cdef _encrypt(self, CTls tls)
    cdef _flush_records(self, CTls tls)
    cpdef _look_at_buffer(self)
    cpdef _end_stream(self, wanted)
    cdef _close(self, error)
    cpdef _set_reading(self, bint reading)
