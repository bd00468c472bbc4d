"""TensorRT of every version since 8.2: building, reading back and running engines."""
