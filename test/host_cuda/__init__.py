"""The real PyCUDA on a machine without a GPU, by a driver that runs on the host."""
