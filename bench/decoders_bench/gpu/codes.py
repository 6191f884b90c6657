"""Exit codes."""

AGAIN, TIME_IS_UP = 3, 75
"""Of a process that lost the device and asks for another, and of a run that has something left."""
