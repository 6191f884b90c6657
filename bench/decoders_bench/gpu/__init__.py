"""`bench/gpu.sh`: what can be found out on a GPU that is there for a few minutes, on a machine where nothing of ours is
installed."""
