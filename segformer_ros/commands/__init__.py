"""Verbs of the command line, one module each: SUMMARY, add_arguments and run."""
