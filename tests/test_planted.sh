#!/bin/sh
# test_planted.sh: a fault of 1 % in a kernel that both the device and the plain kernels have: float64 loops on the host name it.
. "$(dirname "$0")/run_help.sh"
"$jetcl" devices --json 2>/dev/null | grep -q '"kind": "cpu"' || { echo "skip planted no CPU device"; exit 0; }
cat > exp.yaml <<EOF
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 16, patch: 8, dim: 16, depth: 1, heads: 1, drop_path: off}
train: {epochs: 1, batch: 4, steps: 1}
EOF
# plant FILE 's/one/other/' KERNEL: the training must not start, and the line must name the kernel.
plant() {
    rm -rf bad && cp -r "$here/cl" bad && sed -i "$2" "bad/$1"
    cmp -s "$here/cl/$1" "bad/$1" && { echo "not ok $1: nothing was planted"; return; }
    out=$(JETCL_CHECK= JETCL_CL=bad "$jetcl" train exp.yaml --device cpu --out run 2>&1 </dev/null); code=$?
    case $out in *"plain $1 $3"*) [ $code = 4 ] ;; *) false ;; esac && [ ! -e run/metrics.jsonl ]
    if [ $? = 0 ]; then echo "ok $1 $3"; else echo "not ok $1 $3"; echo "   exit $code: $out"; fi
}
plant norm.cl   '/^static inline float2 statistics/,/^}/s|1.0f / sqrt|1.01f / sqrt|' layernorm_affine
plant norm.cl   's|const float m1 = r \* |const float m1 = 1.01f * r * |' layernorm_grad
plant loss.cl   's/log(sum_16(s))/1.01f * log(sum_16(s))/' cross_entropy
plant reduce.cl 's/STORE_1(Ty, sum_16(s), y/STORE_1(Ty, 1.01f * sum_16(s), y/' sum_rows
plant matmul.cl 's/y \*= alpha;/y *= 1.01f * alpha;/' matmul
