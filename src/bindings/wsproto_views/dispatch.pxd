# The C types of dispatch.py for the compiled build. Nothing is decided here.
