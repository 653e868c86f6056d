# The C types of session.py for the compiled build. Nothing is decided here.

import cython

from .connection cimport Connection
from .events cimport Chunk, Message
from .outgoing cimport PreparedMessage

cdef Py_ssize_t _COST
cdef double _NEVER, _PATIENCE
cdef object _OPEN, _CLOSED, _DECIDING, _CLOSE_SENT, _TEXT, _BINARY
cdef object _GATE, _REQUEST, _MESSAGE, _RUN
cdef object _EMPTY, _append, _extend, _popleft


cdef class Call:
    cdef readonly object kind
    cdef readonly object hook
    cdef tuple _arguments
    cdef object _data
    cdef object _opcode

    cpdef begin(self)


cdef class _Trouble:
    cdef readonly object error


cdef class _Start:
    pass


cdef class Session:
    cdef public Connection connection
    cdef public object hooks
    cdef public bint opened
    cdef public size_t attended
    cdef readonly bint wants_read
    cdef object _gate
    cdef object _route
    cdef public object _queue
    cdef public Py_ssize_t _cost
    cdef public Py_ssize_t _running
    cdef Call _spare
    cdef bint _alone
    cdef bint _deaf
    cdef bint _over
    cdef tuple _told
    cdef Py_ssize_t _closing
    cdef public bint _reader
    cdef bint _reads
    cdef bint _in_hand
    cdef double _read_at
    cdef double _hold_until
    cdef bint _keeps_control
    cdef dict _pinged
    cdef double _overdue
    cdef bint _given_up
    cdef bint _close_timed
    cdef bint _cancel
    cdef bint _quiet
    cdef bint _full
    cdef bint _listening
    cdef Py_ssize_t _overheard
    cdef Py_ssize_t _stragglers
    cdef object _posted
    cdef object _choice
    cdef bint _takes_messages
    cdef object _on_text
    cdef object _on_binary
    cdef object _on_message
    cdef Py_ssize_t _mark
    cdef Py_ssize_t _overlap

    cpdef received(self, data, double now)
    cpdef call_returned(self, Call call, value, double now)
    @cython.locals(connection=Connection)
    cpdef bint call_passed(self, Call call) except -1
    @cython.locals(at=Py_ssize_t, message=Message)
    cpdef next_call(self)
    cpdef send(self, data, opcode, bint final=*, compress=*)
    cpdef bint can_begin(self)
    cpdef bint is_writable(self)
    cpdef bint has_call(self)
    cpdef next_deadline(self)
    cpdef bint take_cancel(self)
    cpdef bint has_output(self)
    cpdef bint has_batch(self)
    cpdef list take_output(self)

    cdef _came_back(self, kind)
    cdef _look(self, double now)
    cdef bint _has_room(self) except -1
    cdef bint _drops(self) except -1
    cdef bint _is_busy(self, double now) except -1
    @cython.locals(cost=Py_ssize_t, message=Message, by_type=bint)
    cdef bint _take_messages(self, list events) except -1
    cdef _take(self, event, double now)
    cdef bint _takes(self, message) except -1
    cdef _enqueue(self, event)
    cdef _put(self, item, bint ahead=*)

    @cython.locals(call=Call)
    cdef Call _message_call(self, hook, data, opcode)

    @cython.locals(wants=bint)
    cdef _balance(self, double now)

    @cython.locals(at=Py_ssize_t, limit=Py_ssize_t)
    cdef Py_ssize_t _next_at(self) except -2
    @cython.locals(mark=Py_ssize_t)
    cdef bint _may_read(self) except -1
    cdef Py_ssize_t _hooked_at(self) except -2
    cdef bint _has_hook(self, item) except -1

@cython.locals(message=Message)
cpdef Py_ssize_t _cost_of(item) except -1
