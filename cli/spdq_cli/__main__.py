"""``python -m spdq_cli``."""

from spdq_cli.main import main

main()
