# The C types of watch.py for the compiled build. Nothing is decided here.

import cython

from wsproto_views.quick cimport Ready, Timer, is_only_ready, monotonic


cdef Py_ssize_t _POLLS, _FEW, _MANY, _CHECK
cdef object _EDGE
cdef double _DENSE, _STAY, _LATE


cdef class Alarm:
    cdef public object call
    cdef public object watch


cdef class Watched:
    cdef public int wanted
    cpdef on_ready(self, int events)
    cpdef take_in(self, int events)
    cpdef handle(self)
    cpdef finish(self)


cdef class EpollWatch:
    cdef object __weakref__
    cdef object _loop
    cdef object _epoll
    cdef int _fd
    cdef dict _watched
    cdef Ready _ready
    cdef Watched _only
    cdef list _alarms
    cdef object _serial
    cdef Py_ssize_t _dropped
    cdef bint _keeps_time
    cdef object _timer
    cdef double _rings_at
    cdef double _last
    cdef int _outer
    cdef object _callbacks
    cdef int _held

    cpdef hold(self)
    cpdef release(self)
    cdef _open(self)
    cdef _close(self)
    cdef _forget(self, int fd)
    cdef _open_timer(self)
    cpdef want(self, int fd, Watched watched, int events)
    cpdef again(self, int fd, Watched watched)

    @cython.locals(now=double, dense=bint, few=bint)
    cpdef _on_ready(self)

    @cython.locals(count=Py_ssize_t, ready=Py_ssize_t, at=Py_ssize_t, fd=int, found=Watched)
    cdef Py_ssize_t _look(self) except -1

    @cython.locals(
        told=list, found=Watched, at=Py_ssize_t, since=double, waits=Py_ssize_t
    )
    cdef _tell(self, Py_ssize_t ready)

    @cython.locals(at=Py_ssize_t, found=Watched)
    cdef Py_ssize_t _finish(self, list told, Py_ssize_t start, Py_ssize_t end) except -1

    @cython.locals(until=double)
    cdef _stay(self)
    cpdef call_at(self, double at, call)
    cpdef drop(self)
    cdef _ring_at(self, double at)
    cpdef _on_ring(self)
    cdef _close_timer(self)
