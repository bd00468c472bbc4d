"""Fixtures of the verification's tests: a GPU that is not there."""

from fake_gpu.machine import make_machine

__all__ = ['make_machine']
