"""Segmenting without ROS: images and recordings, and the results that are left in a folder."""
