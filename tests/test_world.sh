#!/bin/sh
# test_world.sh: values at the ends of their ranges, limits on memory, plans of the largest models: what is
# refused before anything is allocated, and how long that takes.
. "$(dirname "$0")/run_help.sh"

cat > exp.yaml <<END
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 1, heads: 2, drop_path: off, classes: 10}
train: {epochs: 1, batch: 256, steps: 2}
optim: {lr: 1e-3, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: 1}
END
for value in '[2,1e308,1e308]' '[1000000,10,0]' '[2,11,0]' '[-1,9,0]' '[2,nan,0]' '[2,9]'; do
    try "augment.randaugment=$value" 2 "augment.randaugment" run exp.yaml --out refused \
        --set "augment.randaugment=$value"
done
[ ! -e refused ]; ok $? "nothing was made"
try "its upper end" 0 "top-1" run exp.yaml --out upper --set 'augment.randaugment=[15,10,100]'
# The largest values that a run survives, or ends at with a line.
try "a huge learning rate" 5 "the loss is" run exp.yaml --out lr --set optim.lr=1000 --set train.steps=off \
    --set log.every=1
for set in optim.weight_decay=1000 optim.eps=1000 train.clip_norm=1000000000 schedule.warmup_epochs=1000000 \
    augment.mixup=1000 augment.cutmix=1000 eval.every=1000000 eval.patience=1000000 log.every=1000000000 \
    keep.every=1000000 keep.last=1000000 keep.minutes=1000000 eval.crop=0.1 augment.scale_min=1e-300 \
    seed=9223372036854775807 \
    train.ema=1 augment.pad=1024 dist.timeout=1000000 data.std=[1e-300,2,2]; do
    out=$("$jetcl" run exp.yaml --out "end.$set" --set "$set" 2>&1 </dev/null); code=$?
    [ $code = 0 ] || { [ $code = 5 ] && [ "$(echo "$out" | grep -c '^jetcl')" = 1 ]; }
    ok $? "$set" "$code: $out"
done
# No more memory than the images there are need.
memory() { sed -n 's/.*"memory": \([0-9]*\).*/\1/p' "$1/result.json"; }
images=$(sed -n 's/.*"split":"eval".*"n":\([0-9]*\).*/\1/p' upper/metrics.jsonl)
try "a batch of all $images images" 0 "top-1" run exp.yaml --out all --set eval.batch="$images"
try "a batch larger than the split" 0 "top-1" run exp.yaml --out more --set eval.batch=65536
[ "$(memory more)" = "$(memory all)" ]; ok $? "takes no more memory" "$(memory all) $(memory more)"

# Limits of this process: seen in the plan, before anything is allocated. A gigabyte is more than the driver's
# own need.
wide="--set model.dim=4096 --set model.heads=64 --set model.depth=16"
out=$( (ulimit -v 6000000; "$jetcl" run exp.yaml --out limited $wide) 2>&1 </dev/null); code=$?
[ $code = 4 ] && has "$out" "training needs" && has "$out" "(ulimit -v)"; ok $? "ulimit -v" "$code: $out"
mkdir -p two one
echo 2000000000 > two/memory.max; echo 100000000 > two/memory.current; echo 'inactive_file 50' > two/memory.stat
echo 2000000000 > one/memory.limit_in_bytes; echo 100000000 > one/memory.usage_in_bytes
for version in one two; do
    out=$(JETCL_CGROUP=$version "$jetcl" run exp.yaml --out limited $wide 2>&1 </dev/null); code=$?
    [ $code = 4 ] && has "$out" "(its control group)"; ok $? "a control group, version $version" "$code: $out"
done
[ ! -e limited ]; ok $? "nothing was made for them" "$(ls limited 2>&1)"
JETCL_CGROUP=two "$jetcl" run exp.yaml --out fits >/dev/null 2>&1; ok $? "what fits is trained"

# Plans of the largest models that keys.def allows: processor seconds, whatever else runs.
planned() { name=$1; shift; out=$( (ulimit -t 30; "$jetcl" count exp.yaml "$@") 2>&1 </dev/null); code=$?
    [ $code = 0 ] && has "$out" "in all"; ok $? "$name is planned in seconds" "$code: $out"; }
planned "a depth of 1000" --set model.depth=1000
planned "65536 and 65536 experts" --set 'model.moe.layers=[0]' --set model.moe.core=65536 \
    --set model.moe.universal=65536
deep="--set model.depth=1000 --set model.moe.layers=[$(seq -s, 0 999)] --set model.moe.core=2"
planned "1000 layers of experts" $deep --set model.moe.universal=2
out=$( (ulimit -t 30; "$jetcl" config exp.yaml --launches --device null $deep \
            --set model.moe.universal=2 | wc -l) 2>&1)
[ "$out" -gt 50000 ]; ok $? "and their launches listed" "$out"
