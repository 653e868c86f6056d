# The C types of tls.py for the compiled build. Nothing is decided here.

import cython


cdef class Tls:
    cdef public bint is_open
    cdef public bint is_ended
    cdef object _incoming
    cdef object _outgoing
    cdef object _object
    cdef object _records
    cdef bint _over
    cdef object _fault

    cpdef bint shake(self) except -1
    cpdef feed(self, data)

    @cython.locals(size=Py_ssize_t)
    cpdef read(self)

    @cython.locals(size=Py_ssize_t, count=Py_ssize_t)
    cpdef read_into(self, room)
    cdef bint _at_end(self) except -1
    cpdef write(self, data)
    cpdef end(self)
    cpdef take(self)
