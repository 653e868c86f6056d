# The C types of framing.py for the compiled build. Nothing is decided here.

import cython

from .octets cimport apply_mask, unmask


# These are C integers inside the module and unknown outside, unlike FIN and CONTINUED.
cdef int _FIN, _CONTINUED
cdef int _ILLEGAL, _WHOLE, _BEGIN, _MIDDLE, _END, _CONTROL
cdef int _COST
cdef Py_ssize_t _UNLIMITED


cdef class FrameDecoder:
    cdef public object fault
    cdef public Py_ssize_t serial
    cdef public bint pending
    cdef public bint mid_frame
    cdef public Py_ssize_t coming
    cdef int _mask_bit
    cdef int _rsv
    cdef Py_ssize_t _max_frame
    cdef Py_ssize_t _max_message
    cdef bytes _idle_kinds
    cdef bytes _message_kinds
    cdef bytes _kinds
    cdef int _head
    cdef Py_ssize_t _size
    cdef bint _last
    cdef bytes _key
    cdef bytes _data
    cdef Py_ssize_t _pos
    cdef bytearray _more
    cdef bint _counted

    cpdef feed(self, bytes data)
    cpdef bytes skip(self, Py_ssize_t size)

    @cython.locals(
        data=bytes, pos=Py_ssize_t, end=Py_ssize_t, mask_bit=int, kinds=bytes, taken=Py_ssize_t,
        part=bytes, turn=int, left=Py_ssize_t, first=int, kind=int, length=Py_ssize_t,
        start=Py_ssize_t, stop=Py_ssize_t, payload=bytes, pieces=list,
    )
    cpdef list decode(self, Py_ssize_t budget)

    cdef _count(self)

    cdef _begin(self, int first, int kind, Py_ssize_t length)

    @cython.locals(length=Py_ssize_t, least=Py_ssize_t)
    cdef Py_ssize_t _long_length(self, bytes data, Py_ssize_t pos) except -2

    @cython.locals(before=Py_ssize_t)
    cdef bint _within_limits(self, int kind, Py_ssize_t length) except -1
