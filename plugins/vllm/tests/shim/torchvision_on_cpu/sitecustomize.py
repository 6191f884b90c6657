"""Names for the operators that torchvision asks for while it is imported, where its library does not load: a build for
GPUs beside a torch for CPUs. vLLM looks at model classes in processes of its own, so this is done wherever Python
starts."""

import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
