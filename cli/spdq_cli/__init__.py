"""The command ``spdq``: thin commands over the library, each loaded when it is called."""
