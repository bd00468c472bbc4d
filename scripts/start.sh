# shellcheck shell=sh disable=SC2154
# Sourced by the programs beside it: starts `program`, a call of segformer_ros/interrupts.py. An interrupt waits while
# Python itself starts, until the program takes it up; before that, the exit code is `interrupted`.
trap 'exit $interrupted' INT TERM HUP
blocked='env --block-signal=INT --block-signal=TERM --block-signal=HUP'
$blocked true 2>/dev/null || blocked= # coreutils before 8.31
exec $blocked python3 -c "import sys; sys.path[:] = filter(None, sys.path) # not the folder that it is started in
from segformer_ros.interrupts import ${program%%(*}; $program" "$@"
