# The C types of tls.py for the compiled build. Nothing is decided here.

import cython


cdef class Tls:
    cdef public bint is_open
    cdef public bint is_ended
    cdef public bint is_drained
    cdef bint _fed
    cdef bint _eof
    cdef object _incoming
    cdef object _object
    cdef object _feed
    cdef object _take
    cdef object _read
    cdef object _write
    cdef object _pending
    cdef bint _over
    cdef object _fault

    cpdef bint shake(self) except -1
    cpdef feed(self, data)

    @cython.locals(size=Py_ssize_t)
    cpdef read(self)

    @cython.locals(size=Py_ssize_t, count=Py_ssize_t, most=Py_ssize_t)
    cpdef read_into(self, room)
    cdef bint _has_more(self) except -1
    cdef _record(self, Py_ssize_t size, room)
    cdef bint _at_end(self) except -1
    cpdef write(self, data)
    cpdef end(self)
    cpdef take(self)
