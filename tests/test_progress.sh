#!/bin/sh
# test_progress.sh: what a run shows on a terminal while it goes: kernels being built, the first step, the loss
# from then on.
. "$(dirname "$0")/run_help.sh"
command -v python3 >/dev/null || { echo "skip progress no python3"; exit 0; }
for i in 000 020 040 060; do
    bmp photos/train/ape/$i.bmp 377 $i $i; bmp photos/train/bee/$i.bmp $i 377 $i
    bmp photos/test/ape/$i.bmp 377 $i $i
done
cat > exp.yaml <<END
name: live
data: {set: folder, root: photos, train: train, eval: test, workers: 1}
model: {arch: vit, image: 16, patch: 8, dim: 16, depth: 1, heads: 2, drop_path: off}
train: {epochs: 1000, batch: 4, steps: 300}
optim: {lr: 1e-3, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: off}
log: {every: 1000}
keep: {minutes: off}
END
live() { out=$(python3 -B "$here/tests/live.py" 200 "$jetcl" "$@"); code=$?; }
export JETCL_CACHE_DIR=$dir/cache POCL_CACHE_DIR=$dir/cache
live run exp.yaml --out first
[ $code = 0 ] && has "$out" "building kernels: "; ok $? "kernels being built are shown" "$code: $out"
has "$out" "first step after " && has "$out" " s, kernels included"
ok $? "and how long the first step took" "$out"
echo "$out" | grep -q '^computing the first step'; ok $? "the first step is announced" "$out"
lines=$(echo "$out" | grep -c '^epoch [0-9]*/1000 ')
loss=$(echo "$out" | grep '^epoch [0-9]*/1000 ' | grep -c '  loss [0-9]')
[ "$lines" -ge 2 ] && [ "$lines" = "$loss" ]
ok $? "every redraw has the loss, long before the log" "$loss of $lines: $out"
live run exp.yaml --out second
[ $code = 0 ]; ok $? "again" "$code: $out"
cmp -s first/ckpt/last.safetensors second/ckpt/last.safetensors &&
    "$jetcl" run exp.yaml --out third -q >/dev/null &&
    cmp -s first/ckpt/last.safetensors third/ckpt/last.safetensors
ok $? "the weights are those of a run that shows nothing"
