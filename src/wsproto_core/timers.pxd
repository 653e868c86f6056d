# The C types of timers.py for the compiled build.

import cython


cdef class Timers:
    cdef double[7] _at
    cdef public double next

    @cython.locals(first=double, at=double)
    cdef _find_next(self)
