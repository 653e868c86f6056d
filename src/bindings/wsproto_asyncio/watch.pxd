# The C types of watch.py for the compiled build. Nothing is decided here.

cdef Py_ssize_t _POLLS


cdef class EpollWatch:
    cdef object __weakref__
    cdef object _epoll
    cdef dict _watched
    cdef object _only

    cpdef want(self, int fd, watched, int events)
