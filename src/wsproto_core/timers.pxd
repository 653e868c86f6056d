# The C types of timers.py for the compiled build.


cdef class Timers:
    cdef list _at
    cdef public double next
