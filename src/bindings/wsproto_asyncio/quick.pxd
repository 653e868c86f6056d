# The C types of quick.pyx, for the compiled modules that call it.


cpdef Py_ssize_t receive(sock, int fd, buffer) except -2
cpdef Py_ssize_t send(sock, int fd, bytes data) except -2


cdef class Suspended:
    cdef readonly object given


cpdef object start(coroutine)
cpdef unsigned long thread_ident() except? 0
