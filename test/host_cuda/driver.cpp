// Copyright 2026 segformer_ros maintainers
// Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
// in compliance with the License. You may obtain a copy of the License at
// http://www.apache.org/licenses/LICENSE-2.0
// Unless required by applicable law or agreed to in writing, software distributed under the License
// is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
// or implied. See the License for the specific language governing permissions and limitations under
// the License.

// libcuda.so.1 for a machine without a GPU: device memory is the host's, work is done when it is put into a
// stream, and kernels are those of host_kernels.cpp ($HOST_KERNELS). What a real driver would refuse, or does not
// order as it should be, is printed; memory that is freed is unmapped, so that touching it ends the process. An
// access near address 0 leaves the context with an illegal address, as on a device.
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define API extern "C" int

// CUresult.
enum { INVALID_VALUE = 1, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500,
       ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
enum { PROCESSORS = 16, INTEGRATED = 18, MAJOR = 75, MINOR = 76 };  // CUdevice_attribute
enum { MAP_HOST = 8, HOST_MAPPED = 2, NO_TIMING = 2, THREAD_LOCAL = 1 };
enum { BLOCK = 256, GRID_LIMIT = 65535 };

typedef std::function<void()> Work;
struct Context { unsigned flags; int error; };  // sticky: every call gives it
struct Graph { std::vector<Work> work; };
struct Stream { Context *context; Graph *captured; bool invalid; };
struct Event { Context *context; unsigned flags; bool recorded; double when; };
struct Function { std::string name; };
struct Memory { size_t size; Context *context; bool host; unsigned flags; };

static std::recursive_mutex mutex;
static thread_local std::vector<Context *> stack;
static thread_local Stream *capturing;
static std::map<uintptr_t, Memory> memory;
static std::set<void *> alive;  // contexts, streams and events
static std::map<std::string, long> calls;
static void *kernels;
static int fault;

static int complain(int result, const std::string &text) {
    fprintf(stderr, "libcuda of the host: %s\n", text.c_str());
    return result;
}

static int enter(const char *name) {
    ++calls[name];
    if (stack.empty() || !alive.count(stack.back()))
        return complain(INVALID_CONTEXT, std::string(name) + " without a current context");
    return stack.back()->error;
}

// What may wait for other work breaks a capture, in the thread that captures.
static int wait(const char *name) {
    if (!capturing)
        return 0;
    capturing->invalid = true;
    return complain(CAPTURE_UNSUPPORTED, std::string(name) + " while a graph is captured");
}

#define ENTER(name)                                    \
    std::lock_guard<std::recursive_mutex> lock(mutex); \
    if (int error = enter(name))                       \
        return error;
#define ENTER_WAITING(name)     \
    ENTER(name)                 \
    if (int error = wait(name)) \
        return error;

static size_t mapped_size(size_t size) { return (size + 4095) & ~(size_t)4095; }

static uintptr_t take(size_t size, bool host, unsigned flags) {
    void *place = mmap(nullptr, mapped_size(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(place, 0xCD, size);
    memory[(uintptr_t)place] = {size, stack.back(), host, flags};
    return (uintptr_t)place;
}

static int give(uintptr_t address, bool host) {
    auto found = memory.find(address);
    if (found == memory.end() || found->second.host != host)
        return complain(INVALID_VALUE, "memory is freed that is not there");
    munmap((void *)address, mapped_size(found->second.size));
    memory.erase(found);
    return 0;
}

static bool is_inside(uintptr_t address, size_t size, bool host) {
    auto above = memory.upper_bound(address);
    if (above == memory.begin())
        return false;
    auto found = std::prev(above);
    bool reachable = found->second.host == host || (found->second.flags & HOST_MAPPED);
    return reachable && address + size <= found->first + found->second.size;
}

static int put(Stream *stream, Work work) {
    if (!stream || stream == (Stream *)1)  // the default one
        return work(), 0;
    if (!alive.count(stream))
        return complain(INVALID_HANDLE, "work for a stream that is not there");
    if (stream->context != stack.back())
        return complain(INVALID_HANDLE, "work for a stream of another context");
    if (stream->captured)
        stream->captured->work.push_back(work);
    else
        work();
    return 0;
}

static double milliseconds() {
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(now).count();
}

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

API cuInit(unsigned) {
    kernels = dlopen(setting("HOST_KERNELS", ""), RTLD_NOW);
    return kernels ? 0 : NOT_FOUND;
}

API cuDriverGetVersion(int *version) { return *version = 13000, 0; }
API cuDeviceGetCount(int *count) { return *count = 1, 0; }
API cuDeviceGet(int *device, int number) { return *device = number, number ? INVALID_DEVICE : 0; }
API cuDeviceGetName(char *name, int size, int) { return snprintf(name, size, "Test GPU"), 0; }
API cuDeviceTotalMem_v2(size_t *size, int) { return *size = (size_t)8 << 30, 0; }

API cuDeviceGetAttribute(int *value, int attribute, int) {
    int sm = atoi(setting("HOST_SM", "87")), integrated = atoi(setting("HOST_INTEGRATED", "0"));
    *value = attribute == PROCESSORS ? 16 : attribute == INTEGRATED ? integrated : attribute == MAJOR ? sm / 10
        : attribute == MINOR ? sm % 10 : 0;
    return 0;
}

API cuGetErrorString(int error, const char **text) {
    *text = error == ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "an error of the host's driver";
    return 0;
}

API cuGetExportTable(const void **, const void *) { return NOT_FOUND; }  // what NVRTC looks for

// Contexts.

API cuCtxCreate_v4(Context **context, void *, unsigned flags, int) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    ++calls["cuCtxCreate"];
    alive.insert(*context = new Context{flags, 0});
    stack.push_back(*context);
    return 0;
}

API cuCtxCreate_v2(Context **context, unsigned flags, int device) {
    return cuCtxCreate_v4(context, nullptr, flags, device);
}

static Context *primary;  // which a process shares

API cuCtxDetach(Context *context) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    ++calls["cuCtxDetach"];
    if (stack.empty() || stack.back() != context)
        return complain(INVALID_CONTEXT, "a context is ended that is not current");
    for (auto entry = memory.begin(); entry != memory.end();) {
        auto [address, block] = *entry++;
        if (block.context != context)
            continue;
        if (!context->error && context != primary)  // others may use that one
            complain(0, "a context is ended while memory of it is in use");
        give(address, block.host);
    }
    alive.erase(context);
    stack.pop_back();
    return 0;
}

// As cuda-bindings end one: whether it is current or not.
API cuCtxDestroy_v2(Context *context) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!alive.count(context))
        return complain(INVALID_CONTEXT, "a context is ended twice");
    if (stack.empty() || stack.back() != context)
        stack.push_back(context);
    return cuCtxDetach(context);
}

static int retained;

API cuDevicePrimaryCtxRetain(Context **context, int) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!retained++)
        alive.insert(primary = new Context{MAP_HOST, 0});
    *context = primary;
    return 0;
}

API cuDevicePrimaryCtxRelease(int) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!retained)
        return complain(INVALID_CONTEXT, "the primary context is given back twice");
    if (--retained)
        return 0;
    stack.push_back(primary);
    return cuCtxDetach(primary);
}

API cuDevicePrimaryCtxRelease_v2(int device) { return cuDevicePrimaryCtxRelease(device); }

API cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) { return *flags = 0, *active = retained > 0, 0; }

API cuCtxGetCurrent(Context **context) { return *context = stack.empty() ? nullptr : stack.back(), 0; }

API cuCtxPushCurrent_v2(Context *context) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!alive.count(context))
        return complain(INVALID_CONTEXT, "a context is made current that has ended");
    stack.push_back(context);
    return 0;
}

API cuCtxPopCurrent_v2(Context **context) {
    if (stack.empty())
        return complain(INVALID_CONTEXT, "no context to pop");
    *context = stack.back();
    stack.pop_back();
    return 0;
}

API cuCtxGetDevice(int *device) { return *device = 0; }

API cuCtxSynchronize() {
    ENTER_WAITING("cuCtxSynchronize");
    return 0;
}

// Memory.

API cuMemAlloc_v2(uintptr_t *address, size_t size) {
    ENTER_WAITING("cuMemAlloc");
    *address = take(size, false, 0);
    return 0;
}

API cuMemFree_v2(uintptr_t address) {
    ENTER_WAITING("cuMemFree");
    return give(address, false);
}

API cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    ENTER_WAITING("cuMemHostAlloc");
    if (flags & HOST_MAPPED && !(stack.back()->flags & MAP_HOST))
        return complain(INVALID_VALUE, "mapped memory in a context that has none");
    *address = (void *)take(size, true, flags);
    return 0;
}

API cuMemFreeHost(void *address) {
    ENTER_WAITING("cuMemFreeHost");
    return give((uintptr_t)address, true);
}

API cuMemHostGetDevicePointer_v2(uintptr_t *address, void *host, unsigned) {
    ENTER("cuMemHostGetDevicePointer");
    auto found = memory.find((uintptr_t)host);
    if (found == memory.end() || !(found->second.flags & HOST_MAPPED))
        return complain(INVALID_VALUE, "memory is not mapped, but its device address is asked for");
    *address = (uintptr_t)host;
    return 0;
}

API cuMemGetInfo_v2(size_t *left, size_t *total) {
    ENTER("cuMemGetInfo");
    return *left = (size_t)6 << 30, *total = (size_t)8 << 30, 0;
}

API cuPointerGetAttribute(void *value, int attribute, uintptr_t address) {
    std::lock_guard<std::recursive_mutex> lock(mutex);
    auto above = memory.upper_bound(address);
    if (above == memory.begin() || address >= std::prev(above)->first + std::prev(above)->second.size)
        return INVALID_VALUE;
    if (attribute == 1)  // CU_POINTER_ATTRIBUTE_CONTEXT
        *(Context **)value = std::prev(above)->second.context;
    else
        *(int *)value = 0;  // of CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return 0;
}

API cuMemcpyHtoD_v2(uintptr_t target, const void *source, size_t size) {
    ENTER_WAITING("cuMemcpyHtoD");
    if (!is_inside(target, size, false))
        return complain(INVALID_VALUE, "a copy beyond device memory");
    memcpy((void *)target, source, size);
    return 0;
}

API cuMemcpyDtoH_v2(void *target, uintptr_t source, size_t size) {
    ENTER_WAITING("cuMemcpyDtoH");
    if (!is_inside(source, size, false))
        return complain(INVALID_VALUE, "a copy beyond device memory");
    memcpy(target, (void *)source, size);
    return 0;
}

API cuMemcpyDtoDAsync_v2(uintptr_t target, uintptr_t source, size_t size, Stream *stream) {
    ENTER("cuMemcpyDtoDAsync");
    if (!is_inside(source, size, false) || !is_inside(target, size, false))
        return complain(INVALID_VALUE, "a copy beyond device memory");
    return put(stream, [=] { memmove((void *)target, (void *)source, size); });
}

static int copy(const char *name, uintptr_t device, uintptr_t host, size_t size, Stream *stream, bool up) {
    ENTER(name);
    if (!is_inside(device, size, false))
        return complain(INVALID_VALUE, std::string(name) + " beyond device memory");
    if (!is_inside(host, size, true))
        complain(0, std::string(name) + " of memory that is not page-locked, which is not asynchronous");
    auto target = (void *)(up ? device : host), source = (void *)(up ? host : device);
    return put(stream, [=] { memcpy(target, source, size); });
}

API cuMemcpyHtoDAsync_v2(uintptr_t target, const void *source, size_t size, Stream *stream) {
    return copy("cuMemcpyHtoDAsync", target, (uintptr_t)source, size, stream, true);
}

API cuMemcpyDtoHAsync_v2(void *target, uintptr_t source, size_t size, Stream *stream) {
    return copy("cuMemcpyDtoHAsync", source, (uintptr_t)target, size, stream, false);
}

API cuMemsetD32Async(uintptr_t target, unsigned value, size_t count, Stream *stream) {
    ENTER("cuMemsetD32Async");
    if (!is_inside(target, 4 * count, false))
        return complain(INVALID_VALUE, "cuMemsetD32Async beyond device memory");
    return put(stream, [=] { std::fill_n((unsigned *)target, count, value); });
}

// Streams and events.

API cuStreamCreate(Stream **stream, unsigned) {
    ENTER("cuStreamCreate");
    alive.insert(*stream = new Stream{stack.back(), nullptr, false});
    return 0;
}

API cuStreamDestroy_v2(Stream *stream) {
    ENTER("cuStreamDestroy");
    return alive.erase(stream) ? 0 : complain(INVALID_HANDLE, "a stream is ended twice");
}

API cuStreamSynchronize(Stream *stream) {
    ENTER("cuStreamSynchronize");
    return stream->captured ? wait("cuStreamSynchronize") : 0;
}

API cuStreamWaitEvent(Stream *stream, Event *event, unsigned) {
    ENTER("cuStreamWaitEvent");
    if (!event->recorded)
        complain(0, "a stream waits for an event that was not recorded");
    return put(stream, [] {});
}

API cuEventCreate(Event **event, unsigned flags) {
    ENTER("cuEventCreate");
    alive.insert(*event = new Event{stack.back(), flags, false, 0});
    return 0;
}

API cuEventDestroy_v2(Event *event) {
    ENTER("cuEventDestroy");
    return alive.erase(event) ? 0 : complain(INVALID_HANDLE, "an event is ended twice");
}

API cuEventRecord(Event *event, Stream *stream) {
    ENTER("cuEventRecord");
    if (event->context != stack.back())
        return complain(INVALID_HANDLE, "an event of another context is recorded");
    return put(stream, [=] { event->recorded = true, event->when = milliseconds(); });
}

API cuEventSynchronize(Event *event) {
    ENTER_WAITING("cuEventSynchronize");
    return event->recorded ? 0 : complain(0, "an event is waited for that was not recorded");
}

API cuEventElapsedTime_v2(float *time, Event *from, Event *till) {
    ENTER("cuEventElapsedTime");
    if (!from->recorded || !till->recorded || (from->flags | till->flags) & NO_TIMING)
        return complain(INVALID_HANDLE, "the time of an event that has none");
    *time = (float)(till->when - from->when);
    return *time < 0 ? complain(0, "events were recorded in the other order") : 0;
}

API cuEventElapsedTime(float *time, Event *from, Event *till) { return cuEventElapsedTime_v2(time, from, till); }

// Kernels.

static thread_local sigjmp_buf before;

static void caught(int, siginfo_t *info, void *) {
    if ((uintptr_t)info->si_addr < 4096)
        siglongjmp(before, 1);
    signal(SIGSEGV, SIG_DFL);  // memory that was freed: touched again, it ends the process
}

// Work of a kernel; what it touches that cannot be there breaks its context.
static void guard(Context *context, const Work &work) {
    struct sigaction ours = {}, theirs;
    ours.sa_sigaction = caught, ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &ours, &theirs);
    if (sigsetjmp(before, 1))
        context->error = ILLEGAL_ADDRESS;
    else
        work();
    sigaction(SIGSEGV, &theirs, nullptr);
}

static void *kernel_symbol(const std::string &name) { return dlsym(kernels, name.c_str()); }

API cuModuleLoadDataEx(void **module, const void *, unsigned, void *, void **) {
    ENTER_WAITING("cuModuleLoadData");
    return *module = new char(), 0;
}

API cuModuleLoadData(void **module, const void *image) {
    return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

API cuModuleUnload(void *) {
    ENTER("cuModuleUnload");
    return 0;
}

API cuModuleGetFunction(Function **function, void *, const char *name) {
    ENTER("cuModuleGetFunction");
    *function = new Function{name};
    return kernel_symbol(std::string("host_") + name) ? 0 : NOT_FOUND;
}

API cuFuncSetBlockShape(Function *, int, int, int) { return 0; }
API cuFuncGetAttribute(int *value, int, Function *) { return *value = 0; }

API cuLaunchKernel(
    Function *function, unsigned width, unsigned height, unsigned depth, unsigned x, unsigned y, unsigned z,
    unsigned, Stream *stream, void **parameters, void **extra
) {
    ENTER("cuLaunchKernel");
    if (x != BLOCK || y != 1 || z != 1 || !width || !height || !depth || height > GRID_LIMIT || depth > GRID_LIMIT)
        return complain(INVALID_VALUE, "a grid or block that cannot be");
    auto size_of = (int (*)())kernel_symbol("sizeof_" + function->name);
    char *argument = parameters ? (char *)*parameters : nullptr;
    size_t size = size_of();
    for (; extra && *extra; extra += 2)  // CU_LAUNCH_PARAM_BUFFER_POINTER and _SIZE
        *extra == (void *)1 ? (void)(argument = (char *)extra[1]) : (void)(size = *(size_t *)extra[1]);
    if ((int)size != size_of())
        return complain(INVALID_VALUE, function->name + " with an argument of another size");
    if (fault) {
        stack.back()->error = fault, fault = 0;  // as on a device, later calls tell of it
        return 0;
    }
    auto run = (void (*)(void *, int, int, int))kernel_symbol("host_" + function->name);
    auto kept = std::make_shared<std::vector<char>>(argument, argument + size);
    auto context = stack.back();
    return put(stream, [=] { guard(context, [=] { run(kept->data(), width, height, depth); }); });
}

// Graphs.

API cuStreamBeginCapture_v2(Stream *stream, int mode) {
    ENTER("cuStreamBeginCapture");
    if (mode != THREAD_LOCAL)
        complain(0, "a capture that other threads may break");
    stream->captured = new Graph(), stream->invalid = false;
    capturing = stream;
    return 0;
}

API cuStreamEndCapture(Stream *stream, Graph **graph) {
    ENTER("cuStreamEndCapture");
    *graph = stream->captured;
    stream->captured = nullptr, capturing = nullptr;
    return stream->invalid ? CAPTURE_INVALIDATED : 0;
}

API cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, uint64_t) {
    ENTER("cuGraphInstantiate");
    *executable = new Graph(*graph);
    return 0;
}

API cuGraphLaunch(Graph *graph, Stream *stream) {
    ENTER("cuGraphLaunch");
    return put(stream, [=] { for (auto &work : graph->work) work(); });
}

API cuGraphDestroy(Graph *graph) { return delete graph, 0; }
API cuGraphExecDestroy(Graph *graph) { return delete graph, 0; }

// For the test.

extern "C" void host_fail(int error) { fault = error; }
extern "C" long host_calls(const char *name) { return calls[name]; }
extern "C" long host_blocks() { return (long)memory.size(); }

extern "C" int host_put(Stream *stream, void (*work)(long), long number) {
    ENTER("TensorRT");
    return put(stream, [=] { work(number); });
}

// What cuda-bindings look every call up with: the newest of a name that the version has.
API cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t, int *status) {
    std::vector<std::string> names = {std::string(name) + "_v2", name};
    if (std::string(name) == "cuCtxCreate" && version >= 12050)
        names.insert(names.begin(), "cuCtxCreate_v4");
    *function = nullptr;
    for (auto &one : names)
        if (!*function)
            *function = dlsym(RTLD_DEFAULT, one.c_str());
    if (status)
        *status = *function ? 0 : 1;  // CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
    return *function ? 0 : NOT_FOUND;
}

API cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
