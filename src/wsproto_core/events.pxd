# The C types of events.py for the compiled build: the events made for every message.


cdef class Message:
    cdef readonly object data
    cdef readonly object opcode


cdef class Chunk:
    cdef readonly object data
    cdef readonly object opcode
    cdef readonly bint first
    cdef readonly bint final
