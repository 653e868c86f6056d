# The C types of transports.py for the compiled build. Nothing is decided here.

import cython

from .driver cimport Driver


cdef class TransportDriver(Driver):
    cdef object _transport
    cdef bint _tls
    cdef bint _writing

    @cython.locals(output=list)
    cpdef _write(self)
    cpdef _look_at_buffer(self)
    cpdef _end_stream(self, wanted)
    cpdef _set_reading(self, bint reading)
