"""The device that kernels of the interpreter run on."""

import torch
from triton.backends import compiler, driver


class Driver(driver.DriverBase):
    @classmethod
    def is_active(cls):
        return True

    def map_python_to_cpp_type(self, ty):
        return "int64_t"

    def get_current_target(self):
        return compiler.GPUTarget("cpu", 0, 1)

    def get_current_device(self):
        return 0

    def get_active_torch_device(self):
        return torch.device("cpu")

    def get_benchmarker(self):
        return lambda kernel, quantiles=None, **more: [0.0]

    def get_device_interface(self):
        return torch.cpu

    def get_empty_cache_for_benchmark(self):
        return torch.empty(1)

    def clear_cache(self, cache):
        pass
