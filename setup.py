"""Install the ROS-free part with pip; colcon builds the ROS package with CMakeLists.txt."""

from setuptools import setup

setup()
