// Pre- and post-processing of the segmentation engines on the device.
//
// Header-free, so that NVRTC compiles it on a machine without a toolkit. Everything a kernel needs is one
// struct passed by value; `launches.py` reads structs, constants and kernels' names from this text. The golden
// reference in `verification/kernel_checks.py` says what the numbers must be.
//
// With SEGFORMER_HOST the same code is compiled for the CPU, by the file that includes it: a kernel is then a
// sequence of loops over the threads of one block, split at its barriers.

enum {
    BLOCK = 256,     // threads of a block, side by side
    ROWS = 4,        // rows of pixels that a block makes, one after the other
    MAX_BATCH = 16,  // frames of one launch
    RIVALS = 4,      // classes that are noted for the pixels between four cells
    NO_CLASS = 255,  // label of a pixel without a class
};

#ifndef SEGFORMER_HOST
#define KERNEL extern "C" __global__ void __launch_bounds__(BLOCK)
#define DEVICE __device__ __forceinline__
#define SHARED __shared__
#define EACH_THREAD for (int thread = threadIdx.x, once = 1; once; once = 0)
#define BARRIER __syncthreads()
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

struct CellsJob {             // a null pointer is not wanted
    Scores scores;
    byte *labels;             // (frames, height, width): best class of each cell
    float *best;              // (frames, height, width): its probability
    unsigned *rivals;         // (frames, height, width): see `rivals_at`
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
    const unsigned *rivals;   // (frames, height, width), see `rivals_at`; of scores with data
    const byte *palette;      // (256, 3) BGR
    int label_bytes;          // 1, 2, 4 or 8, little-endian
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

DEVICE float number(float value) {
    return value;
}

DEVICE float number(unsigned short bits) {
    return half_to_float(bits);
}

DEVICE float load(const void *values, int half, long long index) {
    return half ? number(((const unsigned short *)values)[index]) : ((const float *)values)[index];
}

DEVICE void store(void *values, int half, long long index, float value) {
    if (half)
        ((unsigned short *)values)[index] = float_to_half(value);
    else
        ((float *)values)[index] = value;
}

// A probability's logit, but for a term that all classes of a cell share.
DEVICE float logit(float probability) {
    return logf(probability < 1.17549435e-38f ? 1.17549435e-38f : probability);  // keeps NaN
}

DEVICE float load_score(const Scores &scores, long long index) {
    float value = load(scores.data, scores.half, index);
    return scores.probabilities ? logit(value) : value;
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
// a whole number, as the golden reference has it. Grid: (width / BLOCK, height / ROWS, frames).
KERNEL segformer_preprocess(const PreprocessJob job) {
    SHARED Tap rows[ROWS];
    const Source &source = job.sources[blockIdx.z];
    int top = blockIdx.y * ROWS, bottom = top + ROWS < job.height ? top + ROWS : job.height;
    EACH_THREAD {
        if (thread < ROWS)
            rows[thread] = tap(top + thread, source.height, source.content_height);
    }
    BARRIER;
    EACH_THREAD {
        int x = blockIdx.x * BLOCK + thread;
        if (x >= job.width)
            continue;
        Tap column = tap(x, source.width, source.content_width);
        unsigned left = column.first * source.channels, right = column.second * source.channels;
        for (int y = top; y < bottom; ++y) {
            float color[3] = {0.0f, 0.0f, 0.0f};
            if (x < source.content_width && y < source.content_height) {
                Tap row = rows[y - top];
                unsigned above = (unsigned)row.first * source.step, below = (unsigned)row.second * source.step;
                for (int channel = 0; channel < 3; ++channel) {
                    const byte *pixels = source.pixels + source.offset[channel];
                    float first = mix(pixels[above + left], pixels[below + left], row.weight);
                    float second = mix(pixels[above + right], pixels[below + right], row.weight);
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
}

// The scores of the classes in one frame at the four cells between which a pixel lies; places in bytes,
// of which a frame has less than 4 GiB.
template <typename Value>
struct Corners {
    const byte *frame;
    unsigned above_left, above_right, below_left, below_right, next_class;
};

template <typename Value>
DEVICE float score_at(const Corners<Value> &corners, unsigned place, int class_id) {
    return number(*(const Value *)(corners.frame + (place + class_id * corners.next_class)));
}

template <typename Value>
DEVICE Corners<Value> corners_of(const Scores &scores, int frame, Tap row, Tap column) {
    unsigned size = sizeof(Value), down = scores.row_stride * size, across = scores.cell_stride * size;
    unsigned above = row.first * down, below = row.second * down;
    unsigned left = column.first * across, right = column.second * across;
    Corners<Value> corners = {
        (const byte *)scores.data + (long long)frame * scores.frame_stride * size,
        above + left, above + right, below + left, below + right, scores.class_stride * size};
    return corners;
}

struct Range {
    float low, high;
};

// What a class can score between four cells: something between their scores.
template <typename Value>
DEVICE Range range_between(const Corners<Value> &corners, int class_id) {
    float a = score_at(corners, corners.above_left, class_id);
    float b = score_at(corners, corners.above_right, class_id);
    float c = score_at(corners, corners.below_left, class_id);
    float d = score_at(corners, corners.below_right, class_id);
    Range range = {fminf(fminf(a, b), fminf(c, d)), fmaxf(fmaxf(a, b), fmaxf(c, d))};
    float sum = a + b + c + d;
    if (sum != sum)  // fmaxf passes over NaN
        range.high = sum;
    return range;
}

// The classes that may be the best of a pixel between a cell and its neighbours right and below, a byte
// each, the lowest first and NO_CLASS behind the last; all bytes NO_CLASS where they are more than RIVALS.
// A class whose greatest score is below another's least is left out. Mostly one class remains: pixels there
// need no scores at all.
template <typename Value>
DEVICE unsigned rivals_at(const Scores &scores, int frame, int row, int column) {
    Tap rows = {row, row + 1 < scores.height ? row + 1 : row, 0.0f};
    Tap columns = {column, column + 1 < scores.width ? column + 1 : column, 0.0f};
    Corners<Value> corners = corners_of<Value>(scores, frame, rows, columns);
    // What interpolating may round; the logarithms of probabilities are up to 87.
    float rounding = scores.probabilities ? 2e-4f : 1e-6f;
    float least = -3.4e38f;
    for (int c = 0; c < scores.classes; ++c) {
        Range range = range_between(corners, c);
        least = fmaxf(least, range.low - rounding * fmaxf(fabsf(range.low), fabsf(range.high)));
    }
    unsigned rivals = 0;
    int count = 0;
    for (int c = 0; c < scores.classes; ++c) {
        Range range = range_between(corners, c);
        if (range.high + rounding * fmaxf(fabsf(range.low), fabsf(range.high)) >= least) {
            if (count == RIVALS)
                return 0xffffffffu;
            rivals |= (unsigned)c << 8 * count++;
        }
    }
    return count == RIVALS ? rivals : rivals | 0xffffffffu << 8 * count;
}

// What is known of each cell of the scores: its best class, that one's probability, and the classes that
// are to be looked at between it and the next cells. Grid: (width / BLOCK, height, frames).
KERNEL segformer_cells(const CellsJob job) {
    EACH_THREAD {
        const Scores &scores = job.scores;
        int x = blockIdx.x * BLOCK + thread, y = blockIdx.y;
        if (x >= scores.width)
            continue;
        long long cell = ((long long)blockIdx.z * scores.height + y) * scores.width + x;
        if (job.rivals)
            job.rivals[cell] = scores.half ? rivals_at<unsigned short>(scores, blockIdx.z, y, x)
                                           : rivals_at<float>(scores, blockIdx.z, y, x);
        if (!job.labels && !job.best)
            continue;
        long long index = score_index(scores, blockIdx.z, y, x);
        float best = -3.4e38f;
        int label = NO_CLASS;  // of a cell whose scores are no numbers
        for (int c = 0; c < scores.classes; ++c) {
            float score = load_score(scores, index + (long long)c * scores.class_stride);
            if (score > best) {
                best = score;
                label = c;
            }
        }
        if (job.labels)
            job.labels[cell] = (byte)label;
        if (!job.best)
            continue;
        float sum = 0.0f;
        for (int c = 0; c < scores.classes; ++c)
            sum += expf(load_score(scores, index + (long long)c * scores.class_stride) - best);
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
    const byte *label = (const byte *)job.labels + index * job.label_bytes;
    for (int i = 1; i < job.label_bytes; ++i)
        if (label[i])  // above 255 or below 0
            return NO_CLASS;
    return label[0];
}

DEVICE byte confidence_at(const PostprocessJob &job, int frame, Tap row, Tap column) {
    const float *best = job.best + (long long)frame * job.scores.height * job.scores.width;
    const float *above = best + (long long)row.first * job.scores.width;
    const float *below = best + (long long)row.second * job.scores.width;
    float value = mix(mix(above[column.first], below[column.first], row.weight),
                      mix(above[column.second], below[column.second], row.weight), column.weight);
    return (byte)fminf(rintf(value * 255.0f), 255.0f);
}

// The score of a class at a pixel between four cells: bilinear, rows first.
template <typename Value>
DEVICE float score_between(const Corners<Value> &corners, int class_id, float down, float across,
                           int probabilities) {
    float a = score_at(corners, corners.above_left, class_id);
    float b = score_at(corners, corners.above_right, class_id);
    float c = score_at(corners, corners.below_left, class_id);
    float d = score_at(corners, corners.below_right, class_id);
    if (probabilities)
        a = logit(a), b = logit(b), c = logit(c), d = logit(d);
    return mix(mix(a, c, down), mix(b, d, down), across);
}

// The best class of a pixel for which several compete, see `rivals_at`; of equal ones the first. NO_CLASS
// where no score is a number.
template <typename Value>
DEVICE int best_between(const Scores &scores, int frame, unsigned rivals, Tap row, Tap column) {
    Corners<Value> corners = corners_of<Value>(scores, frame, row, column);
    bool all = rivals == 0xffffffffu;
    int count = all ? scores.classes : (int)RIVALS, label = NO_CLASS;
    float best = -3.4e38f;
    for (int i = 0; i < count; ++i) {
        int c = all ? i : (int)(rivals >> 8 * i & 255u);
        if (c == NO_CLASS)
            break;
        float score = score_between(corners, c, row.weight, column.weight, scores.probabilities);
        if (score > best) {
            best = score;
            label = c;
        }
    }
    return label;
}

struct Place {                // where a row or column of pixels lies in the cells
    Tap tap;
    int nearest;
};

DEVICE Place place(int pixel, int pixels, int frame, int cells, int span) {
    int repeated = nearest(pixel, frame, pixels);
    Place result = {tap(repeated, cells, span), nearest(repeated, cells, span)};
    return result;
}

// What accompanies the label of a pixel: its confidence, and its colour over the frame's own pixel. Returns
// the label, or NO_CLASS for one that is too uncertain.
DEVICE int accompany(const PostprocessJob &job, int frame, int x, int y, Tap row, Tap column, int label) {
    const Target &target = job.targets[frame];
    unsigned pixel = y * target.width + x;
    if (target.confidence || job.threshold) {
        byte confidence = confidence_at(job, frame, row, column);
        if (target.confidence)
            target.confidence[pixel] = confidence;
        if (confidence < job.threshold)
            label = NO_CLASS;
    }
    if (target.overlay) {
        const Source &image = target.image;
        const byte *under = image.pixels + (long long)y * image.step + x * image.channels;
        for (int channel = 0; channel < 3; ++channel)
            target.overlay[3 * pixel + channel] = (byte)rintf(
                mix(under[image.offset[channel]], job.palette[3 * label + channel], job.opacity));
    }
    return label;
}

// A pixel's label, and what is wanted with it. blocked: the lowest row so far that is not drivable.
DEVICE void write(const PostprocessJob &job, int frame, int x, int y, Tap row, Tap column, int label,
                  int &blocked) {
    const Target &target = job.targets[frame];
    if (target.confidence || target.overlay || job.threshold)
        label = accompany(job, frame, x, y, row, column, label);
    target.labels[(unsigned)(y * target.width + x)] = (byte)label;
    if (target.blocked && y > blocked && !(job.drivable[label >> 5] >> (label & 31) & 1u))
        blocked = y;
}

// The pixels of a column in a block's rows. Those with one class come first, and together.
template <typename Value>
DEVICE void write_between(const PostprocessJob &job, int frame, int x, int lowest, const Place *rows,
                          Tap column, int &blocked) {
    const Scores &scores = job.scores;
    const unsigned *rivals = job.rivals + (long long)frame * scores.height * scores.width + column.first;
    int count = lowest < ROWS ? lowest + 1 : (int)ROWS;
    unsigned contested = 0;
    for (int i = 0; i < count; ++i) {
        unsigned found = rivals[rows[i].tap.first * scores.width];
        if (found - 0xffffff00u < NO_CLASS)
            write(job, frame, x, lowest - i, rows[i].tap, column, (int)(found & 255u), blocked);
        else
            contested |= 1u << i;
    }
    for (int i = 0; contested; ++i, contested >>= 1)
        if (contested & 1u) {
            int label = best_between<Value>(scores, frame, rivals[rows[i].tap.first * scores.width],
                                            rows[i].tap, column);
            write(job, frame, x, lowest - i, rows[i].tap, column, label, blocked);
        }
}

// Labels of the frames at their own size with all that comes of them, in one pass over the pixels: scores
// upsampled bilinearly and their argmax (or labels repeated), confidence, colours over the image, and the
// lowest pixel of each column that is not drivable. Grid: (width / BLOCK, height / ROWS, frames).
//
// The lowest rows come first, so that most pixels of a column that is blocked find that already noted.
KERNEL segformer_postprocess(const PostprocessJob job) {
    SHARED Place rows[ROWS];
    const Target &target = job.targets[blockIdx.z];
    int frame = blockIdx.z, lowest = target.height - 1 - (int)blockIdx.y * ROWS;
    if (lowest < 0)
        return;
    EACH_THREAD {
        if (thread < ROWS && thread <= lowest)
            rows[thread] = place(lowest - thread, target.height, target.frame_height, target.rows,
                                 target.span_height);
    }
    BARRIER;
    EACH_THREAD {
        int x = blockIdx.x * BLOCK + thread;
        if (x >= target.width)
            continue;
        Place column = place(x, target.width, target.frame_width, target.columns, target.span_width);
        int blocked = -1;
        if (!job.scores.data)
            for (int y = lowest; y >= 0 && y > lowest - ROWS; --y)
                write(job, frame, x, y, rows[lowest - y].tap, column.tap,
                      label_at(job, frame, rows[lowest - y].nearest, column.nearest), blocked);
        else if (job.scores.half)
            write_between<unsigned short>(job, frame, x, lowest, rows, column.tap, blocked);
        else
            write_between<float>(job, frame, x, lowest, rows, column.tap, blocked);
        if (blocked >= 0 && target.blocked[x] < blocked)
            raise_to(target.blocked + x, blocked);
    }
}
