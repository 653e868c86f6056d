# The C types of dispatch.py for the compiled build. Nothing is decided here.

from wsproto_core.session cimport Call as CCall, Session as CSession

cpdef object next_call(CSession session, driver)
cpdef object returned(CSession session, CCall call, value, driver)
cpdef object failed(CSession session, CCall call, error, driver)
cpdef object report(CSession session, CCall call, value, driver)
