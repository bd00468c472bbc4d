"""Formats: the bytes of recorded messages: the stamp in them, and how they are packed."""
