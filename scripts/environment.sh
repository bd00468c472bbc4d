# shellcheck shell=bash disable=SC2154
# Sourced by ./run and scripts/setup.sh with $root set: where the environment is, whether it is complete,
# and how to enter it. Kept to bash and a few small programs: it runs before every command.

venv=${SEGFORMER_VENV:-$root/.venv}
workspace=$venv/ros_ws
stamps=$venv/.setup

# The sourced distribution's name, or 'wheels' when none (or only our own environment) is sourced.
ros_origin() {
    local prefix
    if [ -n "${ROS_DISTRO:-}" ]; then
        local IFS=:
        for prefix in ${AMENT_PREFIX_PATH:-}; do
            if [ "$prefix" != "$venv" ] && [ -d "$prefix/share/rclpy" ]; then
                echo "$ROS_DISTRO"
                return
            fi
        done
    fi
    echo wheels
}

# What each step depends on, as text; a step is done again when it changes. Each includes the one before.
step_inputs() {
    case $1 in
        venv) echo "$root $(ros_origin)"; cat "$root/requirements/bootstrap.txt" ;;
        packages) step_inputs venv; cat "$root"/requirements/{runtime,ros,dev}.txt ;;
        exports) step_inputs packages; cat "$root/scripts/relocate_cmake_exports.py" ;;
        command) step_inputs exports; sed '/^\[mypy/,$d' "$root/setup.cfg"; cat "$root/setup.py" ;;
        build)
            step_inputs command
            (cd "$root" && cat CMakeLists.txt package.xml msg/*.msg)
            # Contents are linked into the installation, names are not.
            (cd "$root" && { find config launch models samples scripts -type f 2>/dev/null || true; } | LC_ALL=C sort)
            ;;
        train | tensorrt | ray | pycuda) step_inputs venv; cat "$root/requirements/$1.txt" ;;
        torch) step_inputs train ;;
        peers) step_inputs train; cat "$root/requirements/peers.txt" ;;
        browser) echo "$(command -v chromium chromium-browser google-chrome | head -n 1)" ;;
    esac
}

step_key() {
    step_inputs "$1" | sha256sum | cut -c1-64
}

step_is_done() {
    [ -f "$stamps/$1" ] && [ "$(<"$stamps/$1")" = "$(step_key "$1")" ]
}

# The last step's stamp covers the inputs of all. A Python that the system has replaced since is a dead link.
environment_is_current() {
    [ -x "$venv/bin/python" ] && step_is_done build
}

wheel_libraries() {
    printf '%s' "$venv/lib"
    printf ':%s' "$venv"/lib/python3*/site-packages/ros_*.libs
}

enter_environment() {
    local origin prefix=$workspace/install/segformer_ros site libraries
    origin=$(ros_origin)
    site=$(compgen -G "$prefix/lib/python3*/*-packages" || compgen -G "$prefix/local/lib/python3*/*-packages")
    libraries=$prefix/lib
    export AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:-}
    if [ "$origin" = wheels ]; then
        libraries=$libraries:$(wheel_libraries)
        AMENT_PREFIX_PATH=$venv
        # Importing the wheels starts Python a second time to set LD_LIBRARY_PATH, unless told it is set.
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
        export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
    fi
    export AMENT_PREFIX_PATH=$prefix:$AMENT_PREFIX_PATH
    export CMAKE_PREFIX_PATH=$AMENT_PREFIX_PATH
    export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export PYTHONPATH=$root:$site${PYTHONPATH:+:$PYTHONPATH}
    export VIRTUAL_ENV=$venv
    export PATH=$venv/bin:$prefix/lib/segformer_ros:$PATH
    if [ -z "${FASTRTPS_DEFAULT_PROFILES_FILE:-}${FASTDDS_DEFAULT_PROFILES_FILE:-}" ]; then
        if [[ $ROS_DISTRO < kilted ]]; then   # Fast DDS 2
            export FASTRTPS_DEFAULT_PROFILES_FILE=$root/config/fastdds.xml
        else                                  # Fast DDS 3, which warns of the other name
            export FASTDDS_DEFAULT_PROFILES_FILE=$root/config/fastdds.xml
        fi
    fi
    export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
    unset PYTHONHOME
}

# A domain of its own for a run that starts nodes, so that neighbours do not answer. Up to 101 the ports stay
# below Linux's ephemeral range; a domain's first port is 7400 + 250 * id.
choose_domain() {
    [ -n "${ROS_DOMAIN_ID:-}" ] && return
    local try
    for try in 1 2 3 4 5 6 7 8; do
        export ROS_DOMAIN_ID=$((RANDOM % 101 + 1))
        grep -qi "$(printf ':%04X ' $((7400 + 250 * ROS_DOMAIN_ID)))" /proc/net/udp || return 0
    done
}
