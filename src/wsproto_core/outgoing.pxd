# The C types of outgoing.py for the compiled build. Nothing is decided here.

cdef class PreparedMessage:
    cdef readonly object opcode
    cdef readonly bytes data
    cdef readonly object compress
    cdef readonly dict encodings


cpdef bytes encode_text(text)
cpdef bytes snapshot(data, command, expected)
