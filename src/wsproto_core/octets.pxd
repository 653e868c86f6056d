# The C types of octets.pyx, for the compiled modules that call it.

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t


cdef class Gather:
    cdef readonly Py_ssize_t size
    cdef PyObject *_buffer

    cpdef add(self, bytes data, Py_ssize_t coming)
    cdef _resize(self, Py_ssize_t size)
    cpdef bint add_masked(self, data, Py_ssize_t size, bytes key, Py_ssize_t coming) except -1
    cpdef bytes last(self, Py_ssize_t size)
    cpdef Py_ssize_t rest(self, bytes held, Py_ssize_t size) except -2
    cdef uint8_t *_room_for(self, Py_ssize_t more, Py_ssize_t coming) except NULL
    cdef char *_end(self) except NULL
    cpdef bytes peek(self)
    cpdef bytes take(self)


cpdef bytes apply_mask(bytes data, Py_ssize_t start, Py_ssize_t stop, bytes key)
cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t stop)
cpdef bytes encode_header(int first, Py_ssize_t length, int mask_bit)
cpdef bytes encode_frame(int first, bytes payload, bytes key)
cpdef Py_ssize_t utf8_rest(bytes held, bytes data, bint final) except -2
