"""Search speed against peers, in one run: `spdq bench speed`."""
