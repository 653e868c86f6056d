# The C types of outgoing.py for the compiled build. Nothing is decided here.

cpdef bytes encode_text(text)
cpdef bytes snapshot(data, command, expected)
