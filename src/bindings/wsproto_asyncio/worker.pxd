# The C types of worker.py for the compiled build. Nothing is decided here.

import cython

from wsproto_core.session cimport Call as CCall, Session as CSession
from wsproto_views.dispatch cimport failed, next_call, returned
from wsproto_views.quick cimport Runner, Suspended, start

cdef Py_ssize_t TURN
cdef object _enter_task, _leave_task


cdef class Worker(Runner):
    cdef public bint _asyncio_future_blocking
    cdef public object task
    cdef public bint stopped
    cdef public object begun
    cdef object _loop
    cdef object _wake_up
    cdef object _context
    cdef bint _running
    cdef object _error

    @cython.locals(call=CCall)
    cpdef _run(self, session, driver)
    cpdef bint run(self, CSession session, driver) except -1
    cpdef _step(self)
    cpdef stop(self)
