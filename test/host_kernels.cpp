// Copyright 2026 segformer_ros maintainers
// Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
// in compliance with the License. You may obtain a copy of the License at
// http://www.apache.org/licenses/LICENSE-2.0
// Unless required by applicable law or agreed to in writing, software distributed under the License
// is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
// or implied. See the License for the specific language governing permissions and limitations under
// the License.

// kernels.cu for the CPU: the grid and the threads of a block become loops, the device's few instructions
// of its own become functions, and the structs' sizes can be asked for.
#define SEGFORMER_HOST
#include <math.h>

#define KERNEL static void
#define DEVICE static inline
#define SHARED static
#define EACH_THREAD for (int thread = 0; thread < BLOCK; ++thread)
#define BARRIER

static struct { int x, y, z; } blockIdx;

DEVICE float half_to_float(unsigned short bits) {
    unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3ffu;
    union { unsigned u; float f; } value;
    if (exponent == 31)
        value.u = sign | 0x7f800000u | fraction << 13;
    else if (exponent)
        value.u = sign | (exponent + 112) << 23 | fraction << 13;
    else {
        value.f = fraction * (1.0f / 16777216.0f);  // subnormal: a multiple of 2^-24
        value.u |= sign;
    }
    return value.f;
}

// Rounds to nearest, ties to even, as the device's instruction does.
DEVICE unsigned short float_to_half(float number) {
    union { float f; unsigned u; } value, magic;
    value.f = number;
    unsigned sign = value.u >> 16 & 0x8000u;
    value.u &= 0x7fffffffu;
    if (value.u >= 0x47800000u)  // 65536 and more, infinity, NaN
        return (unsigned short)(sign | (value.u > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (value.u < 0x38800000u) {  // subnormal: let the addition round at 2^-24
        magic.u = 0x3f000000u;
        value.f += magic.f;
        return (unsigned short)(sign | (value.u - magic.u));
    }
    value.u += 0xc8000fffu + (value.u >> 13 & 1u);
    return (unsigned short)(sign | value.u >> 13);
}

DEVICE void raise_to(int *address, int value) {
    *address = value;
}
#include KERNELS

template <typename Job>
static void run(void (*kernel)(Job), const Job *job, int width, int height, int frames) {
    for (int z = 0; z < frames; ++z)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
                blockIdx = {x, y, z};
                kernel(*job);
            }
}

#define EXPORT(kernel, Job)                                                                \
    extern "C" void host_##kernel(const Job *job, int width, int height, int frames) {     \
        run<const Job>(kernel, job, width, height, frames);                                \
    }                                                                                      \
    extern "C" int sizeof_##kernel() { return (int)sizeof(Job); }

EXPORT(segformer_preprocess, PreprocessJob)
EXPORT(segformer_cells, CellsJob)
EXPORT(segformer_mosaic, MosaicJob)
EXPORT(segformer_postprocess, PostprocessJob)

extern "C" void host_to_half(const float *from, unsigned short *to, int count) {
    for (int i = 0; i < count; ++i)
        to[i] = float_to_half(from[i]);
}

extern "C" void host_to_float(const unsigned short *from, float *to, int count) {
    for (int i = 0; i < count; ++i)
        to[i] = half_to_float(from[i]);
}
