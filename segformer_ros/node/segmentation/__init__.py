"""The segmentation node: a lifecycle node that segments the images of its cameras."""
