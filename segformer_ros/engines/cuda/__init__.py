"""CUDA side of the TensorRT engine: kernels, memory and the driver; imported without a GPU."""
