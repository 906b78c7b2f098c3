#!/bin/sh
# test_torture.sh: two rounds of `make torture`: a fault, a kill and a race against a small run, which --resume
# must end as if nothing had been.
build=${TEST_BUILD:-build}
[ -e "$build/faults.so" ] || { echo "skip torture no $build/faults.so (make tests)"; exit 0; }
command -v python3 >/dev/null || { echo "skip torture no python3"; exit 0; }
python3 -B "$(dirname "$0")/torture.py" --build "$build" --rounds 2
