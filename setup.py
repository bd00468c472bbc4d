"""Install the ROS-free part with pip; colcon builds the ROS package with CMakeLists.txt."""

from pathlib import Path

from setuptools import setup

FOLDERS = ('config', 'config/classes', 'models', 'msg', 'samples')


def files(folder):
    """A folder's files, for setuptools that take no patterns (Ubuntu 20.04 and 22.04)."""
    return sorted(str(file) for file in Path(folder).iterdir() if file.is_file())


setup(data_files=[(f'share/segformer_ros/{folder}', files(folder)) for folder in FOLDERS])
