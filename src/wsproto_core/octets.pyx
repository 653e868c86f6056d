# cython: language_level=3, boundscheck=False, wraparound=False
"""The loops over octets in C: the second source of ``octets.py``, which says what they do.

The compiled build has this in place of that file. XOR and the search for non-ASCII bytes go word by
word, through memcpy, which compilers turn into plain loads and vectorise.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
    _PyBytes_Resize,
)
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

__all__ = ["Gather", "apply_mask", "encode_frame", "encode_header", "unmask", "utf8_rest"]

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* Where the loader can choose by processor, the loops exist for wider registers as well. */
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    #define WIDE __attribute__((target_clones("avx2", "default")))
    #else
    #define WIDE
    #endif

    /* to[i] = from[i] ^ key[i % 4]. The two never overlap. */
    WIDE static void xor_octets(uint8_t *restrict to, const uint8_t *restrict from, size_t size,
                           const uint8_t *key)
    {
        uint32_t narrow;
        uint64_t wide, word;
        size_t at = 0;
        memcpy(&narrow, key, 4);
        wide = (uint64_t)narrow << 32 | narrow;
        for (; at + 8 <= size; at += 8) {
            memcpy(&word, from + at, 8);
            word ^= wide;
            memcpy(to + at, &word, 8);
        }
        for (; at < size; at++)
            to[at] = from[at] ^ key[at & 3];
    }

    /* The same; whether all that was written is ASCII. */
    WIDE static int xor_ascii(uint8_t *restrict to, const uint8_t *restrict from, size_t size,
                              const uint8_t *key)
    {
        uint32_t narrow;
        uint64_t wide, word, all = 0;
        size_t at = 0, i;
        memcpy(&narrow, key, 4);
        wide = (uint64_t)narrow << 32 | narrow;
        for (; at + 512 <= size; at += 512)
            for (i = at; i < at + 512; i += 8) {
                memcpy(&word, from + i, 8);
                word ^= wide;
                all |= word;
                memcpy(to + i, &word, 8);
            }
        for (; at < size; at++) {
            to[at] = from[at] ^ key[at & 3];
            all |= to[at];
        }
        return !(all & UINT64_C(0x8080808080808080));
    }

    /* How many octets from the start are ASCII, in steps of 8: less than there are, maybe. */
    WIDE static size_t ascii_run(const uint8_t *data, size_t size)
    {
        size_t at = 0, i;
        uint64_t one, all;
        while (at + 512 <= size) {
            all = 0;
            for (i = 0; i < 512; i += 8) {
                memcpy(&one, data + at + i, 8);
                all |= one;
            }
            if (all & UINT64_C(0x8080808080808080))
                break;
            at += 512;
        }
        while (at + 8 <= size) {
            memcpy(&one, data + at, 8);
            if (one & UINT64_C(0x8080808080808080))
                break;
            at += 8;
        }
        return at;
    }
    """
    void xor_octets(uint8_t *to, const uint8_t *from_, size_t size, const uint8_t *key) noexcept nogil
    bint xor_ascii(uint8_t *to, const uint8_t *from_, size_t size, const uint8_t *key) noexcept nogil
    size_t ascii_run(const uint8_t *data, size_t size) noexcept nogil


cdef bytes _NO_KEY = bytes(4)


cpdef bytes apply_mask(bytes data, Py_ssize_t start, Py_ssize_t stop, bytes key):
    """As ``octets.apply_mask``."""
    cdef Py_ssize_t size = stop - start
    if start < 0 or size < 0 or stop > PyBytes_GET_SIZE(data) or PyBytes_GET_SIZE(key) != 4:
        raise ValueError("expected 0 <= start <= stop <= len(data) and a key of four bytes")
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
    xor_octets(
        <uint8_t *>PyBytes_AS_STRING(result),
        <const uint8_t *>PyBytes_AS_STRING(data) + start,
        size,
        <const uint8_t *>PyBytes_AS_STRING(key),
    )
    return result


cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t stop):
    """As ``octets.unmask``."""
    cdef Py_ssize_t size = stop - start
    if start < 4 or size < 0 or stop > PyBytes_GET_SIZE(data):
        raise ValueError("expected 4 <= start <= stop <= len(data)")
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data) + start
    xor_octets(<uint8_t *>PyBytes_AS_STRING(result), at, size, at - 4)
    return result


cdef inline Py_ssize_t put_header(uint8_t *to, int first, Py_ssize_t length, int mask_bit) noexcept:
    """Write a header at ``to``, which has room for ten octets; returns its size."""
    cdef int at
    to[0] = <uint8_t>first
    if length < 126:
        to[1] = <uint8_t>(mask_bit | length)
        return 2
    if length < 0x10000:
        to[1] = <uint8_t>(mask_bit | 126)
        to[2] = <uint8_t>(length >> 8)
        to[3] = <uint8_t>(length & 0xFF)
        return 4
    to[1] = <uint8_t>(mask_bit | 127)
    for at in range(8):
        to[2 + at] = <uint8_t>(<uint64_t>length >> (56 - 8 * at) & 0xFF)
    return 10


cpdef bytes encode_header(int first, Py_ssize_t length, int mask_bit):
    """As ``octets.encode_header``."""
    cdef uint8_t header[10]
    cdef Py_ssize_t size = put_header(header, first, length, mask_bit)
    return PyBytes_FromStringAndSize(<char *>header, size)


cpdef bytes encode_frame(int first, bytes payload, bytes key):
    """As ``octets.encode_frame``."""
    cdef uint8_t header[10]
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef Py_ssize_t masked = PyBytes_GET_SIZE(key)
    if masked != 0 and masked != 4:
        raise ValueError("expected a key of four bytes, or none")
    cdef Py_ssize_t before = put_header(header, first, size, 0x80 if masked else 0)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, before + masked + size)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(result)
    cdef const uint8_t *pad = <const uint8_t *>PyBytes_AS_STRING(key)
    memcpy(to, header, before)
    if masked:
        memcpy(to + before, pad, 4)
        xor_octets(to + before + 4, <const uint8_t *>PyBytes_AS_STRING(payload), size, pad)
    else:
        memcpy(to + before, PyBytes_AS_STRING(payload), size)
    return result


cdef class Gather:
    """As ``octets.Gather``."""

    # ``_buffer`` is a bytes object of our own with room for more; nobody else sees it before it is
    # whole. ``size`` of its bytes are there.

    def __dealloc__(self):
        Py_XDECREF(self._buffer)

    cpdef add(self, bytes data, Py_ssize_t coming):
        """As ``octets.Gather.add``."""
        cdef Py_ssize_t more = PyBytes_GET_SIZE(data)
        memcpy(self._room_for(more, coming), PyBytes_AS_STRING(data), more)

    cdef uint8_t *_room_for(self, Py_ssize_t more, Py_ssize_t coming) except NULL:
        """Where the next ``more`` bytes are to be written, which are counted from here on."""
        cdef Py_ssize_t need = self.size + more
        cdef Py_ssize_t slack
        if self._buffer is NULL or need > PyBytes_GET_SIZE(<object>self._buffer):
            # Room for what is announced, but not for more than three times of what is here: the
            # rest may never come. And always some, so that many small parts are not many copies.
            slack = max(min(coming, 3 * need), need >> 2 if self.size else 0)
            self._resize(need + slack)
        self.size = need
        return <uint8_t *>PyBytes_AS_STRING(<object>self._buffer) + need - more

    cdef _resize(self, Py_ssize_t size):
        cdef bytes fresh
        if self._buffer is NULL:
            fresh = PyBytes_FromStringAndSize(NULL, size)
            Py_INCREF(fresh)
            self._buffer = <PyObject *>fresh
            fresh = None
        else:
            _PyBytes_Resize(&self._buffer, size)

    cpdef bint add_masked(self, data, Py_ssize_t size, bytes key, Py_ssize_t coming) except -1:
        """As ``octets.Gather.add_masked``."""
        cdef Py_buffer view
        cdef uint8_t *to
        if PyBytes_GET_SIZE(key) not in (0, 4):
            raise ValueError("expected a key of four bytes, or none")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if size < 0 or size > view.len:
                raise ValueError("expected 0 <= size <= len(data)")
            to = self._room_for(size, coming)
            return xor_ascii(
                to,
                <const uint8_t *>view.buf,
                size,
                <uint8_t *>PyBytes_AS_STRING(key if PyBytes_GET_SIZE(key) else _NO_KEY),
            )
        finally:
            PyBuffer_Release(&view)

    cpdef bytes last(self, Py_ssize_t size):
        """As ``octets.Gather.last``."""
        if size < 0 or size > self.size:
            raise ValueError("expected 0 <= size <= self.size")
        return PyBytes_FromStringAndSize(self._end() - size, size)

    cpdef Py_ssize_t rest(self, bytes held, Py_ssize_t size) except -2:
        """As ``octets.Gather.rest``."""
        if size < 0 or size > self.size:
            raise ValueError("expected 0 <= size <= self.size")
        return rest_of(held, <const uint8_t *>self._end() - size, size, False)

    cdef char *_end(self) except NULL:
        if self._buffer is NULL:
            self._resize(0)
        return PyBytes_AS_STRING(<object>self._buffer) + self.size

    cpdef bytes peek(self):
        """As ``octets.Gather.peek``."""
        if self._buffer is NULL:
            return b""
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(<object>self._buffer), self.size)

    cpdef bytes take(self):
        """As ``octets.Gather.take``."""
        cdef bytes whole
        if self._buffer is NULL:
            return b""
        if self.size != PyBytes_GET_SIZE(<object>self._buffer):
            self._resize(self.size)
        whole = <bytes>self._buffer
        Py_XDECREF(self._buffer)
        self._buffer = NULL
        self.size = 0
        return whole


cdef Py_ssize_t rest_of(bytes held, const uint8_t *at, Py_ssize_t size, bint final) except -2:
    cdef Py_ssize_t before = PyBytes_GET_SIZE(held)
    cdef Py_ssize_t place = -before  # negative: in held
    cdef int more = 0  # octets that the character in progress still needs
    cdef int had = 0  # octets of it so far
    cdef uint8_t low = 0x80, high = 0xBF  # what the next of them may be (RFC 3629 section 4)
    cdef uint8_t octet
    if before > 3:
        raise ValueError("expected at most three bytes of half a character")
    while place < size:
        if place >= 0 and not more:
            place += <Py_ssize_t>ascii_run(at + place, size - place)
            if place == size:
                break
        octet = at[place] if place >= 0 else <uint8_t>PyBytes_AS_STRING(held)[before + place]
        place += 1
        if more:
            if octet < low or octet > high:
                return -1
            low, high = 0x80, 0xBF
            more -= 1
            had = had + 1 if more else 0
        elif octet >= 0x80:
            if octet < 0xC2 or octet > 0xF4:
                return -1
            had = 1
            if octet < 0xE0:
                more = 1
            elif octet < 0xF0:
                more = 2
                if octet == 0xE0:
                    low = 0xA0
                elif octet == 0xED:
                    high = 0x9F
            else:
                more = 3
                if octet == 0xF0:
                    low = 0x90
                elif octet == 0xF4:
                    high = 0x8F
    if final and more:
        return -1
    return had


cpdef Py_ssize_t utf8_rest(bytes held, bytes data, bint final) except -2:
    """As ``octets.utf8_rest``."""
    return rest_of(held, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), final)
