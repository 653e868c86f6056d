# The C types of octets.pyx, for the compiled modules that call it.

cpdef bytes apply_mask(bytes data, Py_ssize_t start, Py_ssize_t stop, bytes key)
cpdef bytes unmask(bytes data, Py_ssize_t start, Py_ssize_t stop)
cpdef bytes encode_header(int first, Py_ssize_t length, int mask_bit)
cpdef bytes encode_frame(int first, bytes payload, bytes key)
cpdef Py_ssize_t utf8_rest(bytes held, bytes data, bint final)
