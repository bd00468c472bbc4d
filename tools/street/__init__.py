# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A generated drive: a parametric street seen by a real camera, with exact truth."""

from tools.street.drive import Drive, StreetFrame
from tools.street.drives import demo_drive, random_drive
from tools.street.lens import Lens
from tools.street.scene import Scene

__all__ = ['Drive', 'Lens', 'Scene', 'StreetFrame', 'demo_drive', 'random_drive']
