#!/usr/bin/env bash
# Make the environment in .venv, or complete it: only steps whose inputs changed are done again, so an
# interrupted setup goes on where it stopped.   setup.sh [--force] [--with train] [--if-possible STEP]...
# What only tests need is made if it can be; where it cannot, setup says why and succeeds.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/environment.sh"

readonly NEEDED_MIB=2000
log=$venv/setup.log

say() { printf '%s\n' "$*"; }

# die WHAT HOW-TO-GO-ON
die() {
    printf 'setup: %s\n' "$1" >&2
    printf '       %s\n' "${@:2}" >&2
    exit 1
}

# --- What the machine must have ---

python_is_usable() { # python_is_usable COMMAND: right version, and can make environments
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

find_python() {
    local candidate
    if [ "$(ros_origin)" != wheels ]; then
        # A distribution is built for one Python, the system's.
        command -v python3 >/dev/null && python_is_usable python3 && command -v python3
        return 0
    fi
    for candidate in ${SEGFORMER_PYTHON:-} python3 python3.12 python3.11 python3.13 python3.10 python3.14; do
        if command -v "$candidate" >/dev/null && python_is_usable "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
}

describe_python() {
    local version
    version=$(python3 --version 2>/dev/null) || { echo 'none'; return; }
    python3 -c 'import ensurepip, venv' 2>/dev/null || version="$version without venv"
    echo "$version"
}

check_machine() {
    local python missing=() free
    python=$(find_python)
    if [ -z "$python" ]; then
        die "no usable Python: needed is 3.10 to 3.14 with the venv module, found is $(describe_python)." \
            'Debian, Ubuntu:  sudo apt-get install python3 python3-venv python3-dev' \
            'Another one can be named:  SEGFORMER_PYTHON=/path/to/python3.12 ./run setup'
    fi
    if [ "$(ros_origin)" != wheels ] && ! command -v colcon >/dev/null; then
        missing+=('colcon (python3-colcon-common-extensions)')
    fi
    command -v c++ >/dev/null || command -v g++ >/dev/null || missing+=('a C++ compiler (build-essential)')
    command -v cc >/dev/null || command -v gcc >/dev/null || missing+=('a C compiler (build-essential)')
    command -v make >/dev/null || missing+=('make (build-essential)')
    command -v cmake >/dev/null || missing+=('cmake (cmake)')
    "$python" -c "import os, sysconfig; open(sysconfig.get_path('include') + '/Python.h')" 2>/dev/null ||
        missing+=("the headers of $python (python3-dev)")
    if [ ${#missing[@]} -gt 0 ]; then
        die 'what builds the ROS messages is not complete; missing, with its Debian and Ubuntu package:' \
            "${missing[@]/#/- }" 'Install with:  sudo apt-get install PACKAGE...'
    fi
    if [ "$(ros_origin)" = wheels ] && [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
        die "no ROS 2 is sourced, and its wheels exist for x86-64 Linux only (this is $(uname -s)-$(uname -m))." \
            'Install ROS 2 and source it first:  source /opt/ros/$ROS_DISTRO/setup.bash' \
            'The part without ROS runs everywhere:  pip install -e .'
    fi
    free=$(df -Pm "$root" | awk 'NR == 2 {print $4}')
    if [ ! -f "$stamps/packages" ] && [ "$free" -lt $NEEDED_MIB ]; then
        die "$free MiB are free in $root, $NEEDED_MIB MiB are needed." 'Free some space and start again.'
    fi
}

# --- Steps ---
# Each runs in a process of its own; $again says that an earlier try did not come to its end.

make_venv() {
    local options=()
    [ "$(ros_origin)" = wheels ] || options=(--system-site-packages)
    find "$venv" -mindepth 1 -maxdepth 1 ! -path "$stamps" ! -path "$log" -exec rm -rf {} +
    find "$stamps" -type f ! -name lock ! -name venv.started -delete
    "$(find_python)" -m venv "${options[@]}" "$venv"
    "$venv/bin/python" -m pip install --disable-pip-version-check -r "$root/requirements/bootstrap.txt"
}

install_packages() {
    cd "$root/requirements"
    if [ "$(ros_origin)" = wheels ]; then
        # A package that an interrupted installation left incomplete may look installed.
        local options=()
        [ -z "$again" ] || options=(--reinstall)
        "$venv/bin/uv" pip install --python "$venv/bin/python" "${options[@]}" \
            -r runtime.txt -r ros.txt -r dev.txt
    else
        # The distribution's own packages stay: cv_bridge and rclpy are built against its numpy and OpenCV.
        "$venv/bin/python" "$root/scripts/missing_requirements.py" runtime.txt dev.txt >"$stamps/missing.txt"
        "$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps -r "$stamps/missing.txt"
    fi
}

relocate_exports() {
    [ "$(ros_origin)" != wheels ] || _ROS_WHEELS_BOOTSTRAP_COMPLETE=1 \
        "$venv/bin/python" "$root/scripts/relocate_cmake_exports.py"
}

build_workspace() {
    # Built through links: CMake refuses to export targets that use headers (numpy's, in .venv) from below
    # the source folder.
    local source=$workspace/src/segformer_ros name
    [ -z "$again" ] || rm -rf "$workspace"
    rm -rf "$source"
    mkdir -p "$source"
    for name in CMakeLists.txt LICENSE package.xml config launch models msg resource samples scripts segformer_ros; do
        [ ! -e "$root/$name" ] || ln -s "$root/$name" "$source/$name"
    done
    cd "$workspace"
    (
        if [ "$(ros_origin)" = wheels ]; then
            export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
            LD_LIBRARY_PATH=$(wheel_libraries)
            export LD_LIBRARY_PATH
        fi
        export PATH=$venv/bin:$PATH
        colcon --log-base log build --symlink-install --paths "$source" \
            --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python" -Wno-dev
    )
}

install_command() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e "$root"
}

# With pip: it honours the user's choice of where torch comes from.
install_train() {
    "$venv/bin/python" -m pip install --disable-pip-version-check -r "$root/requirements/train.txt"
}

install_peers() {
    "$venv/bin/python" -m pip install --disable-pip-version-check -r "$root/requirements/peers.txt"
}

# What cannot be had is a line for the user, and exit code 1.
cannot() {
    echo "$1" >"$stamps/why"
    return 1
}

install_torch() {
    local found
    ! step_is_done train || return 0
    found=$("$venv/bin/python" -m pip install --disable-pip-version-check --dry-run --no-deps --ignore-installed \
        --quiet --report - -r "$root/requirements/train.txt") || return 1
    # From the usual registry it is several GB, most of it for GPUs.
    if [ "$(uname -sm)" = 'Linux x86_64' ] && ! grep -q '"version": "[0-9.]*+cpu"' <<<"$found"; then
        cannot "pip finds no CPU build of torch: show it one (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL), or ./run train"
    else
        install_train
    fi
}

install_ray() {
    "$venv/bin/uv" pip install --python "$venv/bin/python" -r "$root/requirements/ray.txt"
}

# Without a GPU, PyCUDA needs the headers of CUDA, and a driver to link with that does nothing.
install_pycuda() {
    local toolkit home cache
    for toolkit in "${CUDA_HOME:-}" /usr/local/cuda; do
        [ ! -f "$toolkit/include/cuda.h" ] || break
    done
    [ -f "$toolkit/include/cuda.h" ] || { cannot "no CUDA toolkit in CUDA_HOME or /usr/local/cuda"; return; }
    home=$(mktemp -d)
    cache=$("$venv/bin/uv" cache dir)
    cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$home/libcuda.so" -xc /dev/null
    cat >"$home/.aksetup-defaults.py" <<TEXT
CUDA_INC_DIR = ['$toolkit/include']
CUDADRV_LIB_DIR = ['$home']
CUDA_ENABLE_CURAND = False
TEXT
    HOME=$home UV_CACHE_DIR=$cache "$venv/bin/uv" pip install --python "$venv/bin/python" \
        -r "$root/requirements/pycuda.txt"
    rm -r "$home"
}

install_browser() {
    [ -z "$(step_inputs browser)" ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        { cannot "no Chromium, and no right to install it: sudo apt-get install chromium"; return; }
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium
}

install_tensorrt() {
    [ "$(uname -sm)" = 'Linux x86_64' ] || { cannot 'its wheels exist for x86-64 Linux only'; return; }
    # TensorRT-RTX builds real engines and NVRTC compiles the kernels, both without a GPU.
    "$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps -r "$root/requirements/tensorrt.txt"
}

title() {
    case $1 in
        venv) echo 'Python environment' ;;
        packages) [ "$(ros_origin)" = wheels ] && echo 'packages, ROS 2 Jazzy among them' || echo 'packages' ;;
        exports) echo 'CMake exports' ;;
        build) echo 'colcon build' ;;
        command) echo 'segformer command' ;;
        train) echo 'packages for training' ;;
        peers) echo 'packages to compare with' ;;
        torch) echo "torch's CPU build, for the tests" ;;
        ray) echo 'Ray, for the tests' ;;
        pycuda) echo 'PyCUDA, for the tests (a few minutes)' ;;
        browser) echo 'Chromium, for the tests' ;;
        tensorrt) echo 'TensorRT-RTX and NVRTC, for the tests' ;;
    esac
}

action() {
    case $1 in
        venv) make_venv ;;
        packages) install_packages ;;
        exports) relocate_exports ;;
        build) build_workspace ;;
        command) install_command ;;
        train | torch | peers | ray | pycuda | browser | tensorrt) "install_$1" ;;
    esac
}

explain_failure() {
    local hint="Start again when it is mended; finished steps are kept. All of the log: $log"
    case $(tail -n 40 "$log") in
        *'No space left'*) hint="The disk is full: free $NEEDED_MIB MiB and start again." ;;
        *'dns error'* | *'onnection error'* | *'onnection refused'* | *'Failed to fetch'* | *'imed out'* | \
            *'name resolution'* | *'NewConnectionError'* | *'ProxyError'* | *'No matching distribution'*)
            hint="The package registry was not reached: check the network or pip's configuration, and start again."
            ;;
    esac
    tail -n 12 "$log" | sed 's/^/    /' >&2
    die "the step '$(title "$1")' failed." "$hint"
}

# run_step NUMBER COUNT NAME OPTIONAL
run_step() {
    local began=$SECONDS again=
    [ ! -f "$stamps/$3.started" ] || again=again
    rm -f "$stamps/$3" "$stamps/why"
    touch "$stamps/$3.started"
    printf '[%d/%d] %s ... ' "$1" "$2" "$(title "$3")"
    if ! bash "$root/scripts/setup.sh" --step "$3" $again >"$log" 2>&1; then
        if [[ $4 = *" $3 "* ]]; then
            echo "not to be had: $(cat "$stamps/why" 2>/dev/null || grep -v '^ *$' "$log" | tail -n 1)"
            return
        fi
        echo 'failed'
        explain_failure "$3"
    fi
    step_key "$3" >"$stamps/$3.new"
    mv "$stamps/$3.new" "$stamps/$3"
    rm "$stamps/$3.started"
    printf '%d s\n' $((SECONDS - began))
}

main() {
    local steps=(venv packages exports command build) optional=' ' todo=() step number=0 began=$SECONDS
    while [ $# -gt 0 ]; do
        case $1 in
            --with) steps+=("$2"); shift ;;
            --if-possible) steps+=("$2"); optional+="$2 "; shift ;;
            --force) rm -f "$stamps/venv" ;;
            *) die "unknown option '$1'" 'usage: ./run setup [--force]' ;;
        esac
        shift
    done
    { mkdir -p "$stamps" && : >>"$stamps/lock"; } 2>/dev/null ||
        die "cannot write into $venv" 'clone into a folder of your own'
    exec 9>>"$stamps/lock"
    command -v flock >/dev/null && { flock -n 9 || { say 'waiting for another ./run setup'; flock 9; }; }
    [ -x "$venv/bin/python" ] || rm -f "$stamps/venv"   # the system's Python may have been replaced
    for step in "${steps[@]}"; do
        # A new Python environment has nothing in it.
        { [ "${todo[0]:-}" != venv ] && step_is_done "$step"; } || todo+=("$step")
    done
    if [ ${#todo[@]} -eq 0 ]; then
        say 'the environment is complete'
        return
    fi
    check_machine
    trap 'echo; say "interrupted; ./run goes on from here" >&2; exit 130' INT TERM
    for step in "${todo[@]}"; do
        number=$((number + 1))
        run_step "$number" "${#todo[@]}" "$step" "$optional"
    done
    say "the environment is complete, $((SECONDS - began)) s"
}

if [ "${1:-}" = --step ]; then
    again=${3:-}
    action "$2"
else
    main "$@"
fi
