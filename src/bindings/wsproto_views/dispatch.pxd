# The C types of dispatch.py for the compiled build. Nothing is decided here.

from wsproto_core.session cimport Call as CCall, Session as CSession

cdef object _next(CSession session, driver)
cdef object _begin(CCall call)
cdef object _returned(CSession session, CCall call, value, driver)
