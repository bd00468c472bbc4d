// Pre- and post-processing of the segmentation engines on the device.
//
// Header-free, so that NVRTC compiles it on a machine without a toolkit. Everything a kernel needs is one
// struct passed by value; `structs.py` reads the structs and the constants from this text. The golden
// reference in `engines/reference.py` says what the numbers must be.
//
// With SEGFORMER_HOST the same code is compiled for the CPU, by who includes it: a kernel is then a sequence
// of loops over the threads of one block, split where the threads would meet. That is why per-thread
// variables that outlive a loop are declared with PER_THREAD.

enum {
    BLOCK = 256,     // threads of a block
    MAX_BATCH = 16,  // frames of one launch
    CELLS = 64,      // score cells of one row that a block of postprocess can hold
    CHUNK = 32,      // classes that it holds at a time
    NO_CLASS = 255,  // label of a pixel without a class
};

#ifndef SEGFORMER_HOST
#define KERNEL extern "C" __global__ void __launch_bounds__(BLOCK)
#define DEVICE __device__ __forceinline__
#define SHARED __shared__
#define EACH_THREAD for (int thread = threadIdx.x, once = 1; once; once = 0)
#define BARRIER __syncthreads()
#define PER_THREAD(type, name) type name
#define MINE(name) name
#endif

typedef unsigned char byte;

struct Source {               // a packed uint8 image in memory
    const byte *pixels;
    int step;                 // bytes between rows
    int height, width;
    int channels;             // bytes of a pixel
    int offset[3];            // byte of a pixel for each of three colours
    int content_height;       // the image's part of the network's input, in its upper left corner
    int content_width;
};

struct PreprocessJob {
    Source sources[MAX_BATCH];
    void *input;              // of the network
    int height, width;        // of the network's input
    int half;                 // FP16 instead of FP32
    int frame_stride, channel_stride, row_stride, pixel_stride;  // of the input, in elements
    float mean[3];
    float scale[3];           // 1 / standard deviation
};

struct Scores {               // a network's output, or the mosaic of several
    const void *data;         // FP32 or FP16, or null
    int height, width;        // in cells
    int classes;
    int half;
    int probabilities;        // their logarithms are taken
    int frame_stride, class_stride, row_stride, cell_stride;     // in elements
};

struct BestJob {
    Scores scores;
    byte *labels;             // (frames, height, width): best class of each cell
    float *best;              // (frames, height, width): its probability
};

struct MosaicJob {
    Scores scores;            // of a batch of windows
    float *mosaic;            // (classes, height, width): sum of the windows' logits, in the end their mean
    float *seen;              // (height, width): how many windows saw a cell
    int height, width;        // in cells
    int windows;
    int row[MAX_BATCH], column[MAX_BATCH];  // each window's upper left cell
    int first, last;          // whether this is the frame's first batch, and its last
};

struct Target {               // what is wanted of one frame; a null pointer is not wanted
    byte *labels;             // (height, width)
    byte *confidence;         // (height, width), 0..255
    byte *overlay;            // (height, width, 3) BGR
    int *blocked;             // (width): row of the lowest pixel that is not drivable; -1 before
    Source image;             // what the overlay lies on, of the target's size, offsets in BGR order
    int height, width;
    int frame_height;         // of the pixels that the results repeat: the target's own size, but for
    int frame_width;          // a mask of another size than the frame that windows were slid over
    int span_height;          // how many of these pixels the cells span
    int span_width;
    int rows, columns;        // the frame's part of the scores, in cells
};

struct PostprocessJob {
    Target targets[MAX_BATCH];
    Scores scores;            // without data, labels are taken from `labels`
    const void *labels;       // (frames, height, width) integers of label_bytes, a cell of the scores each
    const float *best;        // (frames, height, width) probabilities
    const byte *palette;      // (256, 3) BGR
    int label_bytes;          // 1, 2, 4 or 8, little-endian
    int run;                  // pixels of a row for each block
    int threshold;            // a pixel whose confidence is below it carries no class
    float opacity;
    unsigned drivable[8];     // bit set of classes
};

// --- numbers ---

#ifndef SEGFORMER_HOST
DEVICE float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

DEVICE unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

DEVICE void raise_to(int *address, int value) {
    atomicMax(address, value);
}
#endif

DEVICE float load(const void *values, int half, long long index) {
    return half ? half_to_float(((const unsigned short *)values)[index]) : ((const float *)values)[index];
}

DEVICE void store(void *values, int half, long long index, float value) {
    if (half)
        ((unsigned short *)values)[index] = float_to_half(value);
    else
        ((float *)values)[index] = value;
}

// Logits, but for a term that all classes of a cell share.
DEVICE float load_score(const Scores &scores, long long index) {
    float value = load(scores.data, scores.half, index);
    return scores.probabilities ? logf(fmaxf(value, 1.17549435e-38f)) : value;
}

DEVICE long long score_index(const Scores &scores, int frame, int row, int column) {
    return (long long)frame * scores.frame_stride + (long long)row * scores.row_stride
           + (long long)column * scores.cell_stride;
}

DEVICE float mix(float first, float second, float weight) {
    return first + (second - first) * weight;
}

struct Tap {                  // the two samples between which a target sample lies
    int first, second;
    float weight;             // of the second
};

// Samples lie at pixel centres, the border is repeated: position (target + 0.5) * from / to - 0.5, in
// whole numbers of 1 / (2 * to), so that no rounding moves a sample. Sides are at most 32768.
DEVICE Tap tap(int target, int from, int to) {
    unsigned position = (2u * target + 1u) * from, unit = 2u * to;
    Tap result = {0, 0, 0.0f};
    if (position > (unsigned)to) {
        position -= to;
        unsigned whole = position / unit;
        if (whole >= (unsigned)from - 1u)
            result.first = from - 1;
        else {
            result.first = (int)whole;
            result.weight = (float)(position - whole * unit) / (float)unit;
        }
    }
    result.second = result.first + 1 < from ? result.first + 1 : result.first;
    return result;
}

DEVICE int nearest(int target, int from, int to) {
    return from == to ? target : (int)((2u * target + 1u) * from / (2u * to));
}

// --- kernels ---

// Frames to the network's input: resize, colour order, normalise, layout. The resized pixel is rounded to
// a whole number, as the golden reference has it. Grid: (width / BLOCK, height, frames).
KERNEL segformer_preprocess(const PreprocessJob job) {
    EACH_THREAD {
        int x = blockIdx.x * BLOCK + thread, y = blockIdx.y;
        if (x >= job.width)
            continue;
        const Source &source = job.sources[blockIdx.z];
        float color[3] = {0.0f, 0.0f, 0.0f};
        if (x < source.content_width && y < source.content_height) {
            Tap row = tap(y, source.height, source.content_height);
            Tap column = tap(x, source.width, source.content_width);
            const byte *above = source.pixels + (long long)row.first * source.step;
            const byte *below = source.pixels + (long long)row.second * source.step;
            int left = column.first * source.channels, right = column.second * source.channels;
            for (int channel = 0; channel < 3; ++channel) {
                int offset = source.offset[channel];
                float first = mix(above[left + offset], below[left + offset], row.weight);
                float second = mix(above[right + offset], below[right + offset], row.weight);
                color[channel] = floorf(mix(first, second, column.weight) + 0.5f);
            }
        }
        long long index = (long long)blockIdx.z * job.frame_stride + (long long)y * job.row_stride
                          + (long long)x * job.pixel_stride;
        for (int channel = 0; channel < 3; ++channel)
            store(job.input, job.half, index + (long long)channel * job.channel_stride,
                  (color[channel] - job.mean[channel]) * job.scale[channel]);
    }
}

// Best class of each cell of the scores, and its probability. Grid: (width / BLOCK, height, frames).
KERNEL segformer_best(const BestJob job) {
    EACH_THREAD {
        const Scores &scores = job.scores;
        int x = blockIdx.x * BLOCK + thread, y = blockIdx.y;
        if (x >= scores.width)
            continue;
        long long index = score_index(scores, blockIdx.z, y, x);
        float best = load_score(scores, index);
        int label = 0;
        for (int c = 1; c < scores.classes; ++c) {
            float score = load_score(scores, index + (long long)c * scores.class_stride);
            if (score > best) {
                best = score;
                label = c;
            }
        }
        float sum = 0.0f;
        for (int c = 0; c < scores.classes; ++c)
            sum += expf(load_score(scores, index + (long long)c * scores.class_stride) - best);
        long long cell = ((long long)blockIdx.z * scores.height + y) * scores.width + x;
        job.labels[cell] = (byte)label;
        job.best[cell] = 1.0f / sum;
    }
}

// Logits of a batch of windows into the mosaic of their frame: the mean of those that see a cell, added up
// in the order of the windows. Grid: (width / BLOCK, height, 1).
KERNEL segformer_mosaic(const MosaicJob job) {
    EACH_THREAD {
        const Scores &scores = job.scores;
        int x = blockIdx.x * BLOCK + thread, y = blockIdx.y;
        if (x >= job.width)
            continue;
        long long cells = (long long)job.height * job.width, cell = (long long)y * job.width + x;
        float seen = job.first ? 0.0f : job.seen[cell];
        for (int c = 0; c < scores.classes; ++c) {
            float sum = job.first ? 0.0f : job.mosaic[c * cells + cell];
            int found = 0;
            for (int window = 0; window < job.windows; ++window) {
                int row = y - job.row[window], column = x - job.column[window];
                if (row < 0 || row >= scores.height || column < 0 || column >= scores.width)
                    continue;
                sum += load_score(scores, score_index(scores, window, row, column)
                                              + (long long)c * scores.class_stride);
                ++found;
            }
            job.mosaic[c * cells + cell] = job.last ? sum / (seen + found) : sum;
            if (c == scores.classes - 1)
                job.seen[cell] = seen + found;
        }
    }
}

DEVICE int label_at(const PostprocessJob &job, int frame, int row, int column) {
    long long index = ((long long)frame * job.scores.height + row) * job.scores.width + column;
    return ((const byte *)job.labels)[index * job.label_bytes];  // labels are below 256, little-endian
}

DEVICE byte confidence_at(const PostprocessJob &job, int frame, Tap row, Tap column) {
    const float *best = job.best + (long long)frame * job.scores.height * job.scores.width;
    const float *above = best + (long long)row.first * job.scores.width;
    const float *below = best + (long long)row.second * job.scores.width;
    float value = mix(mix(above[column.first], below[column.first], row.weight),
                      mix(above[column.second], below[column.second], row.weight), column.weight);
    return (byte)fminf(rintf(value * 255.0f), 255.0f);
}

DEVICE Tap column_tap(const Target &target, int x) {
    return tap(nearest(x, target.frame_width, target.width), target.columns, target.span_width);
}

// Labels of the frames at their own size with all that comes of them, in one pass over the pixels: scores
// upsampled bilinearly and their argmax (or labels repeated), confidence, colours over the image, and the
// lowest pixel of each column that is not drivable. Grid: (width / run, height, frames).
//
// A block takes `run` pixels of one row. It interpolates the scores between the two rows of cells once,
// into shared memory; each pixel then interpolates between two cells. The lowest rows come first, so that
// most pixels of a column that is blocked find that already noted.
KERNEL segformer_postprocess(const PostprocessJob job) {
    SHARED float tile[CHUNK * CELLS];
    PER_THREAD(float, best);
    PER_THREAD(int, label);
    const Target &target = job.targets[blockIdx.z];
    const Scores &scores = job.scores;
    int frame = blockIdx.z, y = target.height - 1 - (int)blockIdx.y, start = blockIdx.x * job.run;
    if (y < 0 || start >= target.width)
        return;
    int end = start + job.run < target.width ? start + job.run : target.width;
    int frame_row = nearest(y, target.frame_height, target.height);
    Tap row = tap(frame_row, target.rows, target.span_height);
    if (scores.data) {
        int first = column_tap(target, start).first;
        int span = column_tap(target, end - 1).second - first + 1;
        long long above = score_index(scores, frame, row.first, first);
        long long below = score_index(scores, frame, row.second, first);
        EACH_THREAD {
            if (start + thread >= end)
                continue;
            MINE(best) = -3.4e38f;
            MINE(label) = 0;
        }
        for (int base = 0; base < scores.classes; base += CHUNK) {
            int count = scores.classes - base < CHUNK ? scores.classes - base : CHUNK;
            EACH_THREAD {
                int cell = thread % CELLS;
                if (cell >= span)
                    continue;
                for (int c = thread / CELLS; c < count; c += BLOCK / CELLS) {
                    long long index = (long long)(base + c) * scores.class_stride
                                      + (long long)cell * scores.cell_stride;
                    tile[c * CELLS + cell] = mix(load_score(scores, above + index),
                                                 load_score(scores, below + index), row.weight);
                }
            }
            BARRIER;
            EACH_THREAD {
                if (start + thread >= end)
                    continue;
                Tap column = column_tap(target, start + thread);
                for (int c = 0; c < count; ++c) {
                    int cell = c * CELLS - first;
                    float score = mix(tile[cell + column.first], tile[cell + column.second], column.weight);
                    if (score > MINE(best)) {
                        MINE(best) = score;
                        MINE(label) = base + c;
                    }
                }
            }
            BARRIER;
        }
    }
    EACH_THREAD {
        int x = start + thread;
        if (x >= end)
            continue;
        if (!scores.data)
            MINE(label) = label_at(job, frame, nearest(frame_row, target.rows, target.span_height),
                                   nearest(nearest(x, target.frame_width, target.width), target.columns,
                                           target.span_width));
        long long pixel = (long long)y * target.width + x;
        if (target.confidence || job.threshold) {
            byte confidence = confidence_at(job, frame, row, column_tap(target, x));
            if (target.confidence)
                target.confidence[pixel] = confidence;
            if (confidence < job.threshold)
                MINE(label) = NO_CLASS;
        }
        target.labels[pixel] = (byte)MINE(label);
        if (target.overlay) {
            const Source &image = target.image;
            const byte *color = image.pixels + (long long)y * image.step + x * image.channels;
            for (int channel = 0; channel < 3; ++channel)
                target.overlay[3 * pixel + channel] = (byte)rintf(
                    mix(color[image.offset[channel]], job.palette[3 * MINE(label) + channel], job.opacity));
        }
        bool drivable = job.drivable[MINE(label) >> 5] >> (MINE(label) & 31) & 1u;
        if (target.blocked && !drivable && target.blocked[x] < y)
            raise_to(target.blocked + x, y);
    }
}
