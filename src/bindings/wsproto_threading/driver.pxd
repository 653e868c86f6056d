# The C types of driver.py for the compiled build. Nothing is decided here.

import cython

from wsproto_core.session cimport Call as CCall
from wsproto_core.session cimport Session as CSession
from wsproto_views.dispatch cimport report
from wsproto_views.quick cimport get_ident, monotonic


cdef int _TURN


cdef class Driver:
    cdef public object lock
    cdef public object peer
    cdef public object server
    cdef public object sock
    cdef public CSession session
    cdef object _stream
    cdef object _on_gone
    cdef size_t _owner
    cdef object _poller
    cdef tuple _asked
    cdef object _asked_until
    cdef bint _in_hook
    cdef bint _nested
    cdef bint _flushed
    cdef bint _adopted
    cdef bint _watched
    cdef list _waiters
    cdef object _crew
    cdef bint _blocked
    cdef bint _eof
    cdef bint _writing
    cdef bint _gone
    cdef bint _released
    cdef object _watcher

    cpdef double now(self) except? -1.0

    cpdef publish(self)

    @cython.locals(me=size_t, due=bint, session=CSession)
    cpdef _own(self, poller)
    cdef bint _is_over(self) except -1

    @cython.locals(session=CSession, reads=bint, writes=bint)
    cdef _turn(self, poller, until)
    cdef tuple _interest(self)

    @cython.locals(session=CSession, reads=bint, now=double)
    cdef _take(self, bint readable, bint writable, at)

    @cython.locals(session=CSession)
    cdef _read(self)

    @cython.locals(session=CSession, me=size_t, count=int, call=CCall)
    cdef _dispatch(self)

    @cython.locals(session=CSession)
    cdef _run(self, CCall call)
    cdef _come_back(self)

    @cython.locals(me=size_t, met=bint)
    cdef bint _nest(self, predicate, until) except -1

    @cython.locals(session=CSession)
    cdef _perform(self)

    @cython.locals(session=CSession)
    cdef _nudge(self)

    @cython.locals(session=CSession, output=list)
    cdef _write(self)
    cdef _wake(self)
