# The C types of quick.pyx, for the compiled modules that call it.


cpdef size_t get_ident()
cpdef double monotonic()
cpdef part(buffer, Py_ssize_t size)
cpdef receive(sock, int fd, buffer)
cpdef recv(sock, int fd, Py_ssize_t size)
cpdef Py_ssize_t send(sock, int fd, bytes data) except -2


cdef class Suspended:
    cdef readonly object given


cpdef object start(coroutine)


cdef class Runner:
    cpdef _run(self, session, driver)
    cdef _run_in(self, context, session, driver)


cdef class Timer:
    cdef readonly int fd

    cpdef set(self, double at)
    cpdef close(self)


cdef class Ready:
    cdef void *_found
    cdef Py_ssize_t _count

    cpdef Py_ssize_t ask(self, epoll, int fd) except -1
    cpdef int fd(self, Py_ssize_t at) except -1
    cpdef int events(self, Py_ssize_t at) except -1


cpdef bint is_only_ready(int epoll, int fd)
cpdef int poll(int fd, int mask, int other, int timeout) except -1
