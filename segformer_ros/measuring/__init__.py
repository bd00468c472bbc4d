"""Measuring: how fast an engine is on this machine, and what power that draws."""
