"""The demo: a recording through the real nodes, and what they made of it as files."""
