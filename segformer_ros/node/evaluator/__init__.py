"""The evaluator node: scores a running segmentation node against labels."""
