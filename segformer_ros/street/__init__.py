"""A generated drive: a parametric street seen by a real camera, with exact truth."""

from segformer_ros.street.drive import Drive, StreetFrame
from segformer_ros.street.drives import demo_drive, random_drive
from segformer_ros.street.lens import Lens
from segformer_ros.street.scene import Scene

__all__ = ['Drive', 'Lens', 'Scene', 'StreetFrame', 'demo_drive', 'random_drive']
