#!/bin/sh
# test_dist_recycle.sh: activations measured by several ranks: the statistics and the recycled model of one, to
# the bit; a rank that cannot read the predecessor; images that are left out; signals.
. "$(dirname "$0")/run_help.sh"
with_ranks
cat >dense.yaml <<END
name: dense
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 8, dim: 48, depth: 3, heads: 4, drop_path: off}
train: {epochs: 1, batch: 200, steps: 1}
optim: {lr: 1e-3, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: off}
END
cat >moe.yaml <<END
base: dense.yaml
name: moe
model: {dim: 32, heads: 2, moe: {layers: [1, 2], core: 2, universal: 4}}
recycle: {from: {experts: dense.safetensors}, images: 910, batch: 70, compare: 16, statistics: kept.safetensors}
END
try "a predecessor" 0 "" "$jetcl" run dense.yaml --out run && cp run/ckpt/last.safetensors dense.safetensors
measured() { # measured NAME N options...: by N ranks, into NAME.safetensors and NAME.kept
    to=$1 n=$2; shift 2; rm -f kept.safetensors
    if [ "$n" = 1 ]; then set -- "$jetcl" recycle moe.yaml "$@"; else set -- mpirun -n "$n" "$jetcl" recycle \
        moe.yaml "$@"; fi
    try "$to: $n ranks" 0 "recycle: activations of" "$@" --out "$to.safetensors" --force
    mv kept.safetensors "$to.kept"
}
same() { # same NAMES...: the bits of the first
    for x in "$@"; do
        cmp -s "$1.kept" "$x.kept" && cmp -s "$1.safetensors" "$x.safetensors"
        ok $? "$x: the statistics and the model of $1"
    done
}
# 910 images: 8 segments of 128, the last one short; by batches 13 of 70.
for how in "average=all recycle.strategy=graph" "average=batch recycle.threshold=percentile"; do
    options=$(for i in recycle.$how; do echo "--set $i"; done)
    for n in 1 2 3; do measured "m$n" $n $options; done
    same m1 m2 m3
done
measured m4 4 --set recycle.images=100 --set recycle.average=all
has "$out" "of 100 images"; ok $? "ranks without images" "$out"
measured m1 1 --set recycle.images=100 --set recycle.average=all
same m1 m4
# What three measured serves one, and is looked for under the same name in the cache.
measured m3 3
cp m3.kept kept.safetensors
try "statistics of three ranks serve one" 0 "statistics of 910 images from" "$jetcl" recycle moe.yaml --out \
    again.safetensors
cmp -s again.safetensors m3.safetensors; ok $? "with the same model"
for n in 2 1; do
    try "the cache: $n ranks" 0 "of 910 images" mpirun -n $n env JETCL_CACHE_DIR="$dir/cache" \
        "$jetcl" recycle moe.yaml --set recycle.statistics= --out cached$n.safetensors
done
has "$out" "statistics of 910 images from" && cmp -s cached1.safetensors cached2.safetensors
ok $? "and is found" "$out"

# A rank on a machine that does not have the predecessor.
mkdir -p away && cp dense.yaml moe.yaml away
rm -f kept.safetensors
try "a rank without the predecessor" 0 "rank 1 (" mpirun -n 3 sh -c \
    '[ ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} = 1 ] && cd away; exec "$@"' sh \
    "$jetcl" recycle moe.yaml --out w.safetensors
has "$out" "cannot read this predecessor, and measures nothing" && cmp -s kept.safetensors m3.kept
ok $? "leaves it to others" "$out"
try "without it at rank 0" 3 "dense.safetensors" mpirun -n 2 sh -c \
    '[ ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} = 0 ] && cd away; exec "$@"' sh \
    "$jetcl" recycle moe.yaml --out w.safetensors
[ "$(echo "$out" | grep -c '^jetcl: recycle')" = 1 ] && [ ! -e away/w.safetensors ]
ok $? "is told once, and nothing is written" "$out"

# Damaged images, among them the whole of the second batch, which is none then.
for i in $(seq 100 139); do
    if [ $i -ge 108 ] && [ $i -lt 116 ]; then mkdir -p photos/train/ape && echo no >photos/train/ape/$i.bmp
    else bmp photos/train/ape/$i.bmp $i 000 377; fi
    bmp photos/train/bee/$i.bmp 000 $i 077
done
photos='--set data.set=folder --set data.root=photos --set data.train=train --set recycle.batch=8'
for n in 1 2 3; do
    measured d$n $n $photos --set data.on_error=skip --set recycle.images=80
    has "$out" "activations of 72 images"; ok $? "$n ranks: the damaged ones are left out" "$out"
done
same d1 d2 d3
# Nine batches of eight, as if the damaged ones had not been there.
rm photos/train/ape/10[89].bmp photos/train/ape/11[0-5].bmp
measured left 1 $photos --set recycle.images=72
"$jetcl" inspect --diff d1.kept left.kept >diff.txt 2>&1; grep -q ', 0 differ' diff.txt
ok $? "a batch that is not there does not count" "$(tail -n 2 diff.txt)"

# `run` recycles over the ranks too; what follows is that of the same checkpoint.
try "run over two ranks" 0 "activations of 910 images" mpirun -n 2 env JETCL_CACHE_DIR="$dir/c2" \
    "$jetcl" run moe.yaml --out r2 --set recycle.statistics=
try "run on one" 0 "activations of 910 images" env JETCL_CACHE_DIR="$dir/c1" "$jetcl" run moe.yaml \
    --out r1 --set recycle.statistics=
cmp -s r1/ckpt/recycled.safetensors r2/ckpt/recycled.safetensors; ok $? "the same recycled model"
try "devices by list" 0 " -n 2 " "$jetcl" recycle moe.yaml --device 0:0,0:0 --out list.safetensors \
    --set recycle.statistics=list-kept.safetensors
cmp -s list-kept.safetensors m3.kept; ok $? "devices by list: the statistics of one"
try "a dry run of two ranks" 0 "statistics of 910 images" mpirun -n 2 "$jetcl" recycle moe.yaml --dry-run

# A signal at one rank: recycle ends without a file, run ends so that --resume does it again.
stopped() { # stopped CODE FOLDER command...
    want=$1 out=$2; shift 2
    (timeout 300 "$@" --out "$out" --set recycle.images=4000 --set recycle.image=128 \
        --set recycle.statistics=never.safetensors -v >"$out.log" 2>&1
        echo "exit $?" >>"$out.log") &
    until grep -q 'on this rank\|^exit' "$out.log" 2>/dev/null; do sleep 0.1; done
    sleep 1; kill -USR1 "$(rank "$out" 1)"; wait
    grep -q "^exit $want" "$out.log" && grep -q "stopped by a signal while" "$out.log" &&
        [ ! -e never.safetensors ]
    ok $? "a signal at a rank that measures: $want" "$(tail -n 4 "$out.log")"
}
stopped 138 stop.safetensors mpirun -n 3 "$jetcl" recycle moe.yaml
[ ! -e stop.safetensors ]; ok $? "and no file is left"
stopped 75 stop mpirun -n 3 "$jetcl" run moe.yaml
try "then --resume recycles" 0 "activations of 910 images" mpirun -n 2 env JETCL_CACHE_DIR="$dir/c3" \
    "$jetcl" run moe.yaml --out stop --resume --set recycle.statistics=
cmp -s r1/ckpt/recycled.safetensors stop/ckpt/recycled.safetensors; ok $? "the same recycled model"
