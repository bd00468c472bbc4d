"""Street segmentation for ROS 2: masks, overlays and drivable area from a SegFormer engine."""

from pkgutil import extend_path

# From a source tree, segformer_ros.msg comes from where colcon installed the generated messages.
__path__ = extend_path(__path__, __name__)
