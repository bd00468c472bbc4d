"""Recording: what a run leaves behind, as a video and as a bag."""

from segformer_ros.recording.bag import BagWriter
from segformer_ros.recording.errors import RecordingError
from segformer_ros.recording.video import VideoWriter

__all__ = ['BagWriter', 'RecordingError', 'VideoWriter']
