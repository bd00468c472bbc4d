"""Evaluation: scores a model on recordings, the same to the bit however the work is split."""
