"""A generated drive: a parametric street seen by a real camera, with exact truth."""

from tools.street.drive import Drive, StreetFrame
from tools.street.drives import demo_drive, random_drive
from tools.street.lens import Lens
from tools.street.scene import Scene

__all__ = ['Drive', 'Lens', 'Scene', 'StreetFrame', 'demo_drive', 'random_drive']
