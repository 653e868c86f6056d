# The C types of buffers.py for the compiled build. Nothing is decided here.

import cython


cdef Py_ssize_t _JOIN, _SMALL

@cython.locals(item=bytes, size=Py_ssize_t)
cpdef list join_small(list output)
