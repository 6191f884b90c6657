"""Exit codes."""

AGAIN, TIME_IS_UP = 3, 75
"""The exit code of a process that lost the device and needs a successor, and that of a run with work left."""
