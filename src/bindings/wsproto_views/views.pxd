# The C types of views.py for the compiled build. Nothing is decided here.

import cython

from wsproto_core.connection cimport Connection as CConnection
from wsproto_core.session cimport Session as CSession

from .quick cimport get_ident

cdef int _SENT, _FULL, _BUSY

@cython.locals(session=CSession)
cdef object _here(view, call)

@cython.locals(session=CSession)
cdef int _send(view, data, opcode, compress) except -1

@cython.locals(session=CSession, connection=CConnection)
cdef bint _offer(view, message) except -1
