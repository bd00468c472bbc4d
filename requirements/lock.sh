#!/usr/bin/env bash
# Renew the pins: requirements/*.in -> *.txt, for every Python that ROS 2 Jazzy's wheels exist for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
lock() { # lock NAME [extra arguments]
    local name=$1
    shift
    uv pip compile --quiet --universal --python-version 3.10 --annotation-style line \
        --custom-compile-command requirements/lock.sh "$@" "$name.in" --output-file "$name.txt"
}
lock runtime "$@"
lock ros --constraint runtime.txt "$@"
# cityscapesscripts asks for the back-port of typing, which no Python of today needs.
lock dev --constraint runtime.txt --constraint ros.txt --override <(echo 'typing; python_version < "3"') "$@"
