# The C types of sockets.py for the compiled build. Nothing is decided here.

import cython

from wsproto_core.session cimport Session as CSession
from .driver cimport Driver


cdef Py_ssize_t _READS


cdef class Tls:
    cdef object _incoming
    cdef object _outgoing
    cdef object _object
    cdef public bint is_open
    cdef bint _ended

    cpdef bint shake(self) except -1
    cpdef feed(self, data)
    cpdef tuple read(self)
    cpdef write(self, data)
    cpdef end(self)
    cpdef bytes take(self)


cdef class SocketDriver(Driver):
    cdef object _socket
    cdef int _fd
    cdef Tls _tls
    cdef object _backlog
    cdef object _plain
    cdef bint _watching
    cdef bint _writing
    cdef bint _over
    cdef bint _shut

    cdef _received_end(self)
    cdef _received_records(self, Tls tls, data)

    @cython.locals(output=list)
    cpdef _write(self)

    @cython.locals(sent=Py_ssize_t, size=Py_ssize_t)
    cdef _send(self, list output)
    cdef _send_backlog(self)
    cdef _encrypt(self, Tls tls)
    cdef _flush_records(self, Tls tls)
    cpdef _look_at_buffer(self)
    cpdef _end_stream(self, wanted)
    cdef _close(self, error)
    cpdef _set_reading(self, bint reading)
