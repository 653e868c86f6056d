# The C types of messages.py for the compiled build. Nothing is decided here.

import cython

from .events cimport Chunk, Message
from .octets cimport Gather, utf8_rest

cdef int _TEXT, _FIN, _CONTINUED, _PART, _OPCODE
cdef Py_ssize_t _COST, _BATCH, _NO_BATCH


cdef class MessageReader:
    cdef public Py_ssize_t batch
    cdef public bint busy
    cdef public bint plain
    cdef public bint stirred
    cdef tuple _codecs
    cdef bint _chunks
    cdef bint _text_as_bytes
    cdef Py_ssize_t _limit
    cdef object _only
    cdef public Py_ssize_t coming
    cdef Gather _gather
    cdef Py_ssize_t _size
    cdef bytes _held
    cdef bint _first
    cdef object _slices
    cdef int _opcode

    @cython.locals(opcode=int)
    cpdef Py_ssize_t add(self, int head, bytes data, list out) except -1

    @cython.locals(gather=Gather, rest=Py_ssize_t, is_ascii=bint)
    cpdef absorb(self, int opcode, data, Py_ssize_t size, bytes key)

    @cython.locals(cost=Py_ssize_t, data=bytes)
    cpdef Py_ssize_t resume(self, list out, Py_ssize_t budget) except -1

    @cython.locals(whole=bytes, coming=Py_ssize_t)
    cdef Py_ssize_t _take(self, int opcode, bytes data, bint final, list out) except -1

    @cython.locals(whole=bytes, held=bytes, first=bint)
    cdef Py_ssize_t _take_chunk(self, int opcode, bytes data, bint final, list out) except -1

    cdef Message _message(self, int opcode, bytes data)

    @cython.locals(rest=Py_ssize_t)
    cdef _check_text(self, bytes data, bint final)


@cython.locals(message=Message)
cdef Message _made(data, opcode)
