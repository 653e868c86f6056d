# The C types of hub.py for the compiled build. Nothing is decided here.


cdef class Hub:
    cdef readonly long long turn
    cdef readonly bint in_turn
    cdef readonly dict due
    cdef readonly object buffer
    cdef readonly object part
    cdef object _watch

    cpdef begin_turn(self, loop)
