# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The structs that are read from the kernels' source."""

from __future__ import annotations

import numpy as np

from segformer_ros.engines.cuda.launches import read_constants, read_kernels, read_structs

SOURCE = """
enum {
    MANY = 3,     // of something
};

struct Inner {                // a comment; with a semicolon
    const byte *pixels;
    int height, width;        // in pixels
    float mean[2];
};

struct Outer {
    Inner inners[MANY];
    unsigned bits[8], last;
    void *target;
};

void function(int a) { int b; }

KERNEL package_first(const Outer job) {
}
"""


def test_constants_are_read() -> None:
    assert read_constants(SOURCE) == {'MANY': 3}


def test_kernels_are_found_by_their_name() -> None:
    assert read_kernels(SOURCE) == ('package_first',)


def test_structs_are_laid_out_with_their_padding() -> None:
    structs = read_structs(SOURCE)
    assert list(structs) == ['Inner', 'Outer']
    inner, outer = structs['Inner'], structs['Outer']
    assert inner.names == ('pixels', 'height', 'width', 'mean')
    assert inner.fields is not None and outer.fields is not None
    assert [inner.fields[name][1] for name in inner.names] == [0, 8, 12, 16]
    assert inner['pixels'] == np.uint64 and inner['mean'].shape == (2,)
    assert outer['inners'].shape == (3,) and outer['inners'].base == inner
    assert outer['bits'].base == np.uint32
    assert outer.fields['last'][1] == 3 * 24 + 32
    assert outer.fields['target'][1] == 3 * 24 + 40  # aligned to 8 bytes
