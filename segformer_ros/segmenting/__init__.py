"""Segmenting: a whole recording without ROS, and the results that are left in a folder."""
