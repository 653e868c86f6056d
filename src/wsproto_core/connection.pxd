# The C types of connection.py for the compiled build. Nothing is decided here.
#
# "public" is for the tests that look inside; the pure build hides nothing either.

import cython

from .framing cimport FrameDecoder
from .messages cimport MessageReader
from .octets cimport encode_frame, encode_header, utf8_rest
from .outgoing cimport PreparedMessage, encode_text, snapshot
from .timers cimport Timers

cdef int _TEXT, _BINARY, _CLOSE, _PING, _PONG, _FIN, _OPCODE
cdef object _OP_TEXT, _OP_BINARY
cdef object _OPENING, _DECIDING, _OPEN, _CLOSE_SENT, _CLOSED, _SERVER, _START
cdef object _TIMER_OPEN, _TIMER_PING, _TIMER_PONG
cdef double _NEVER, _LONG_AGO
cdef Py_ssize_t _COST, _NO_LIMIT, _BEATS, _COPY, _PIECE, _CODED_PIECE, _BATCH, _BATCH_FRAMES
cdef double _LATE


cdef class Connection:
    cdef public object role
    cdef public object config
    cdef public object phase
    cdef public object agreement
    cdef public object transport
    cdef public object closed
    cdef public object latency

    cdef public object _random
    cdef object _keys
    cdef Timers _timers
    cdef public list _events
    cdef public list _out
    cdef Py_ssize_t _out_size
    cdef public Py_ssize_t _blocked
    cdef long long _taken
    cdef long long _given
    cdef object _late_pong
    cdef double _now
    cdef double _last_received
    cdef double _last_ping
    cdef double _last_miss
    cdef double _pong_since
    cdef Py_ssize_t _misses
    cdef double _slept_until
    cdef bint _reading
    cdef public dict _pings
    cdef tuple _beats
    cdef Py_ssize_t _frame_serial
    cdef double _frame_began
    cdef bint _eof
    cdef bint _in_doubt
    cdef Py_ssize_t _room
    cdef Py_ssize_t _read_mark
    cdef Py_ssize_t _write_mark
    cdef tuple _ends
    cdef object _error
    cdef object _sent
    cdef object _received
    cdef Py_ssize_t _fragment_size
    cdef int _sending
    cdef bytes _send_checked
    cdef public tuple _codecs
    cdef bint _stirred
    cdef object _request
    cdef bytearray _early
    cdef public FrameDecoder _decoder
    cdef public MessageReader _messages
    cdef public object _request_reader
    cdef public object _response_reader
    cdef public object _sent_head

    cpdef receive_data(self, data, double now)
    cpdef list events(self, bint hold=*)
    @cython.locals(decoder=FrameDecoder, messages=MessageReader)
    cpdef bint has_news(self)
    cpdef Py_ssize_t bytes_coming(self) except -1
    cpdef bint has_batch(self)
    cpdef bint can_begin(self)
    cpdef bint is_writable(self)
    cdef bint _is_below_mark(self)
    cpdef list data_to_send(self)
    cpdef next_deadline(self)
    cpdef bint offer(self, message) except -1
    cpdef send_message(self, data, opcode, bint final=*, compress=*)

    @cython.locals(decoder=FrameDecoder, size=Py_ssize_t, piece=Py_ssize_t)
    cpdef _feed(self, data)

    @cython.locals(decoder=FrameDecoder, messages=MessageReader, size=Py_ssize_t, key=bytes)
    cdef Py_ssize_t _absorb(self, data) except -1

    @cython.locals(
        decoder=FrameDecoder, messages=MessageReader, events=list, room=Py_ssize_t,
        batch=Py_ssize_t, budget=Py_ssize_t, at=Py_ssize_t, head=int, opcode=int, data=bytes, pieces=list,
    )
    cdef _read_frames(self)

    cdef _owe_pong(self, bytes payload)

    @cython.locals(
        size=Py_ssize_t, last=Py_ssize_t, start=Py_ssize_t, head=int, first=bint, frame=bytes,
    )
    cpdef _send(self, int opcode, bytes data, bint final, compress)

    @cython.locals(data=bytes, rest=bytes)
    cdef _send_text(self, text, bint final, compress)

    @cython.locals(prepared=PreparedMessage, frames=bytes)
    cdef _put_prepared(self, message)

    cdef _send_binary(self, data, bint final, compress)

    @cython.locals(rest=Py_ssize_t)
    cdef bytes _check_text(self, bytes data, bint final)

    cdef _queue_ping(self, bytes payload, double now)

    @cython.locals(frame=bytes)
    cdef _frame(self, int first, bytes payload)

    cdef _write(self, bytes data)
