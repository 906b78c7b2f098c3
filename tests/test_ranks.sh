#!/bin/sh
# test_ranks.sh: three rounds of `make torture-ranks`, one of each kind: a rank is killed, and --resume ends the
# run as if it had not been.
. "$(dirname "$0")/run_help.sh"
with_ranks
command -v python3 >/dev/null || { echo "skip ranks no python3"; exit 0; }
python3 -B "$here/tests/ranks.py" --build "$build" --kills 3
