"""Report of a run: one HTML file that needs nothing else, for a desk and for a phone."""

from segformer_ros.evaluation.report.page import ReportContent, write_report
from segformer_ros.evaluation.report.pictures import FramePictures, frame_pictures

__all__ = ['FramePictures', 'ReportContent', 'frame_pictures', 'write_report']
