# The C types of sockets.py for the compiled build. Nothing is decided here.

import cython

from .driver cimport Driver


cdef Py_ssize_t _READS


cdef class SocketDriver(Driver):
    cdef object _socket
    cdef int _fd
    cdef object _tls
    cdef object _backlog
    cdef object _plain
    cdef bint _watching
    cdef bint _writing
    cdef bint _over
    cdef bint _shut

    cdef _received_end(self)
    cdef _received_records(self, tls, data)

    @cython.locals(output=list)
    cpdef _write(self)

    @cython.locals(sent=Py_ssize_t, size=Py_ssize_t)
    cdef _send(self, list output)
    cdef _send_backlog(self)
    cdef _encrypt(self, tls)
    cdef _flush_records(self, tls)
    cpdef _look_at_buffer(self)
    cpdef _end_stream(self, wanted)
    cdef _close(self, error)
    cpdef _set_reading(self, bint reading)
