#!/bin/sh
# test_ckpt_python.sh: PyTorch, NumPy, timm and the reference read what jetcl writes. PYTHON names an interpreter that has
# them; without one the committed files of tests/golden (test_ckpt_golden.c) keep watch.
python=${PYTHON:-python3}
jetcl=${JETCL_BUILD:-build}/jetcl
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
command -v "$python" >/dev/null 2>&1 || { echo "skip interchange with Python: no $python"; exit 0; }
"$python" "$(dirname "$0")/ckpt_python.py" "$jetcl" "$dir" 2>"$dir/err" || { echo "not ok interchange with Python"; tail -n 15 "$dir/err"; exit 1; }
