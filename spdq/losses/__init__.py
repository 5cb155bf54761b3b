"""The terms of the objective, one a file: each returns unreduced terms and cites its equation."""
