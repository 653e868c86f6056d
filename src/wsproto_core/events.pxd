# The C types of events.py for the compiled build: the events made for every message.


import cython


@cython.freelist(64)
cdef class Message:
    cdef readonly object data
    cdef readonly object opcode


@cython.freelist(8)
cdef class Chunk:
    cdef readonly object data
    cdef readonly object opcode
    cdef readonly bint first
    cdef readonly bint final
