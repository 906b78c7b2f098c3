#!/bin/sh
# test_property.sh: random experiments, straight = resumed = resumed twice; PROPERTIES=200 for that many,
# SEED=.
build=${TEST_BUILD:-build}
command -v python3 >/dev/null || { echo "skip property no python3"; exit 0; }
"$build/jetcl" devices --json 2>/dev/null | grep -q '"name"' ||
    { echo "skip property no OpenCL device"; exit 0; }
python3 -B "$(dirname "$0")/property.py" --build "$build" --count "${PROPERTIES:-4}" --seed "${SEED:-1}"
