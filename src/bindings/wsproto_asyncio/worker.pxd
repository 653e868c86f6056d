# The C types of worker.py for the compiled build. Nothing is decided here.


cdef class Worker:
    cdef public bint _asyncio_future_blocking
    cdef public object task
    cdef public bint stopped
    cdef object _loop
    cdef object _wake_up
    cdef object _context
    cdef bint _cancelled

    cpdef step(self)
    cpdef stop(self)
