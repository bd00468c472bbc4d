"""Drawing: what people look at, from the classes as colours to the ground from above."""
