from decoders_bench.gpu.cli import gpu

gpu(prog_name="bench/gpu.sh")
