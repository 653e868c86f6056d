# The C types of driver.py for the compiled build. Nothing is decided here.

import cython

from wsproto_core.session cimport Session as CSession
from wsproto_views.quick cimport get_ident, monotonic
from .hub cimport Hub
from .watch cimport Watched
from .worker cimport Worker


cdef object _OPEN, _running_loop
cdef int _AT_ONCE


cdef class Driver(Watched):
    cdef public object loop
    cdef bint _is_monotonic
    cdef size_t _thread
    cdef public object server
    cdef public object sock
    cdef public object peer
    cdef public bint cancelled
    cdef public object pending
    cdef public CSession session
    cdef public object _begin
    cdef public object _on_gone
    cdef public bint _turn_due
    cdef public bint _pausing
    cdef public Hub _hub
    cdef public long long _flushed
    cdef public bint _starting
    cdef public int _settled
    cdef public list _waiters
    cdef public list _workers
    cdef public list _idle
    cdef public object _timer
    cdef public double _timer_at
    cdef public bint _reading
    cdef public bint _gone
    cdef public bint _told_gone

    cpdef double now(self) except? -1.0
    cpdef _write(self)
    cpdef _end_stream(self, wanted)
    cpdef _set_reading(self, bint reading)
    cpdef _look_at_buffer(self)
    cpdef _call_at(self, double at)
    cpdef _lose(self, error)
    cpdef bint is_here(self) except -1
    cpdef publish(self)
    cpdef flush_soon(self)
    cpdef flush(self)

    cpdef _turn(self)

    @cython.locals(session=CSession, worker=Worker)
    cpdef handle(self)

    @cython.locals(session=CSession, worker=Worker)
    cpdef finish(self)

    @cython.locals(session=CSession, worker=Worker)
    cpdef _run_calls(self)
    cdef _pause(self)
    cdef _wake(self)
    cpdef _arm(self)
