from decoders_bench.gpu.cli import gpu

if __name__ == "__main__":
    gpu(prog_name="bench/gpu.sh")
