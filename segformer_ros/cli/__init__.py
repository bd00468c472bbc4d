"""The command line: `segformer VERB`, one module for each verb."""
