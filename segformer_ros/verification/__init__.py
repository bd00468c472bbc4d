"""Verification: what is promised of a GPU, looked at on the one that is there."""
