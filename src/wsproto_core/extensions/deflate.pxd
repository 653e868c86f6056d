# The C types of deflate.py for the compiled build: the codec, which sees every message. Nothing is
# decided here.
#
# "public" is for the tests that look inside; the pure build hides nothing either. _STEP and
# _FREE_FINALS stay Python's, for the tests that set them.

import cython

cdef int _RSV1, _LARGEST, _NOT_DEFLATED
cdef Py_ssize_t _SLICE, _SMALL_STEP, _MOST_PARTS
cdef bytes _TAIL, _EMPTY


cdef class _DeflateCodec:
    cdef public str prepared_as
    cdef object _backend
    cdef int _level
    cdef int _mem_level
    cdef object _threshold
    cdef public int _out_bits
    cdef bint _out_fresh
    cdef public object _deflater
    cdef bint _sending
    cdef bint _deflating
    cdef public int _in_bits
    cdef bint _in_fresh
    cdef Py_ssize_t _window
    cdef Py_ssize_t _quantum
    cdef Py_ssize_t _step
    cdef public object _inflater
    cdef public list _history
    cdef public Py_ssize_t _history_size
    cdef bint _in_message
    cdef bint _compressed
    cdef Py_ssize_t _size
    cdef bytes _last
    cdef bint _at_end
    cdef Py_ssize_t _read
    cdef Py_ssize_t _finals

    @cython.locals(data=bytes, flushed=bytes)
    cpdef tuple encode(self, int opcode, bytes payload, bint first, bint final, compress)

    @cython.locals(size=Py_ssize_t, room=Py_ssize_t, whole=bytes, data=bytes)
    cpdef decode(self, bytes payload, int rsv, bint first, bint final, Py_ssize_t limit)

    cdef _next_inflater(self)

    @cython.locals(size=Py_ssize_t, history=list)
    cdef _remember(self, bytes data)

    @cython.locals(before=bytes)
    cpdef bytes _shorten(self)

    cdef _end_message(self)

    cdef _forget(self)

    cdef _count_final(self, Py_ssize_t read)
