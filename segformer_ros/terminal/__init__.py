"""Terminal: what the commands take as arguments, and the tables that they print."""
