"""`bench/gpu.sh`: measurements on a GPU that is available for a few minutes, on a machine without an installation of
this library."""
