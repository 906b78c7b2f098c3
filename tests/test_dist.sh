#!/bin/sh
# test_dist.sh: one run over several ranks against the same run on one: losses, files, signals, a rank that
# dies.
. "$(dirname "$0")/run_help.sh"
with_ranks
timed() {
    if [ "$1" = ranks ]; then n=$2; shift 2; set -- mpirun -n "$n" "$jetcl" run exp.yaml "$@"; fi
    if [ "$1" = two ]; then                       # the images of rank 0 and those of rank 1
        a=JETCL_DATA=$dir/$2/photos b=JETCL_DATA=$dir/$3/photos; shift 3; set -- "$jetcl" run listed.yaml "$@"
        set -- mpirun -n 1 env "$a" "$@" : -n 1 env "$b" "$@"
    fi
    timeout 600 "$@"
}
# The training losses of two runs agree to 1e-6 of themselves, in all of 20 (or $3) steps; the evaluation to the
# digit.
alike() {
    grep '"train"' "$1/metrics.jsonl" | sed 's/.*"loss":\([^,]*\),.*/\1/' >a.txt
    grep '"train"' "$2/metrics.jsonl" | sed 's/.*"loss":\([^,]*\),.*/\1/' >b.txt
    paste a.txt b.txt | awk -v steps="${3:-20}" '{ d = $1 - $2; if (d < 0) d = -d; n += d <= 1e-6 * $1 }
        END { exit !(n == steps && NR == steps) }'
}
same_eval() { # the counts; the loss to six digits, as the weights agree to rounding
    [ "$(sed -n 's/.*"top1":\([^,]*\),.*"n":\([^,]*\),.*/\1 \2/p' "$1/metrics.jsonl")" = \
      "$(sed -n 's/.*"top1":\([^,]*\),.*"n":\([^,]*\),.*/\1 \2/p' "$2/metrics.jsonl")" ]
}

cat >exp.yaml <<END
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 1}
model: {arch: vit, image: 32, patch: 8, dim: 32, depth: 3, heads: 2, drop_path: 0.2,
  moe: {layers: [1, 2], core: 2, universal: 4, dropout: 0.3, noise: 0.5, expert_drop: 0.2}}
train: {epochs: 2, batch: 23, steps: 20, ema: 0.9}
optim: {lr: 2e-3, eps: 1e-4, layer_decay: off}
schedule: {warmup_epochs: off}
eval: {every: 1}
log: {every: 1}
END
try "one rank" 0 "top-1" "$jetcl" run exp.yaml --out one
for n in 2 3 4; do                                # 23 images are not divisible by any
    try "$n ranks" 0 "top-1" ranks $n --out r$n
    alike one r$n; ok $? "$n ranks: the losses of one, 20 steps with dropout and augmentation"
    same_eval one r$n; ok $? "$n ranks: the accuracy of one"
done
try "ranks are named" 0 "rank 2 (" ranks 3 --out named --set train.steps=1
try "again" 0 "" ranks 3 --out again
cmp -s r3/ckpt/last.state again/ckpt/last.state; ok $? "the same ranks give the same bits"
for i in on off; do try "small buckets, overlap $i" 0 "" ranks 3 --out overlap_$i --set dist.bucket=0.004 \
    --set dist.overlap=$i; done
cmp -s overlap_on/ckpt/last.state overlap_off/ckpt/last.state
ok $? "gradients that travel during the backward pass: the same bits"
alike one overlap_on; ok $? "small buckets: the losses of one rank"
export JETCL_TRACE=no_lend                        # as a device does whose memory is not the host's
try "copies of what ranks send" 0 "" ranks 3 --out copied --set dist.bucket=0.004
unset JETCL_TRACE
cmp -s overlap_on/ckpt/last.state copied/ckpt/last.state
ok $? "and without copies, out of a CPU device's memory: the same bits"
# Messages of several megabytes, too, in pieces; and where ranks may not read each other's memory.
wide="--set model.dim=256 --set model.moe.layers=[] --set train.steps=2 --set eval.every=off"
try "a wide model" 0 "" "$jetcl" run exp.yaml --out wide $wide
for copy in cma none; do
    export OMPI_MCA_btl_vader_single_copy_mechanism=$copy
    try "its ranks, by $copy" 0 "" ranks 2 --out wide_$copy $wide
done
unset OMPI_MCA_btl_vader_single_copy_mechanism
alike wide wide_cma 2 && cmp -s wide_cma/ckpt/last.state wide_none/ckpt/last.state
ok $? "the losses of one rank, the same bits either way"
# Of experts and with micro-batches, too: the first gradients leave when the last layer's are there.
early() { echo "$out" | sed -n 's/^gradients leave in .* first after \([0-9]*\) of \([0-9]*\) .*/\1 \2/p' |
    awk '{ n++; bad += $1 > 0.7 * $2 } END { exit !(n == 1 && !bad) }'; }
micro="--set train.batch=24 --set train.accumulate=2 --set dist.bucket=0.04"
try "micro-batches of one" 0 "" "$jetcl" run exp.yaml --out micro $micro
for i in on off; do
    try "micro-batches of three ranks, overlap $i" 0 "in 2 micro-batches" ranks 3 --out micro_$i -v $micro \
        --set dist.overlap=$i
    early; [ $? = $([ $i = on ]; echo $?) ]; ok $? "gradients leave early: $i" "$out"
done
cmp -s micro_on/ckpt/last.state micro_off/ckpt/last.state; ok $? "in the last micro-batch: the same bits"
alike micro micro_on; ok $? "micro-batches of three ranks: the losses of one"
try "without micro-batches" 0 "" ranks 2 --out early -v --set dist.bucket=0.04 --set train.steps=1
early; ok $? "gradients leave early" "$out"
try "uneven shares, one rank without an image" 0 "" ranks 3 --out uneven --set 'dist.shares=[10, 13, 0]'
alike one uneven; ok $? "uneven shares: the losses of one rank"
try "shares by speed" 0 "rank 1 (" ranks 2 --out fast --set dist.shares=auto
has "$out" "% of every batch" && grep -Eq '^ *shares: \[0\.[0-9]+, 0\.[0-9]+\]' fast/config.yaml
ok $? "shares are measured and written" "$out"
alike one fast; ok $? "shares by speed: the losses of one rank"
try "moments on every rank" 0 "" ranks 2 --out off --set dist.shard=off
alike one off; ok $? "moments on every rank: the losses of one"
# Gradients sharded as they arise. P = 4 x params: three ranks keep a third of the gradients' P instead of all.
arise="--set dist.shard=gradients --set dist.bucket=0.01"
try "gradients sharded" 0 "rounds, the first after" ranks 3 --out arise -v $arise
alike one arise; ok $? "gradients sharded: the losses of one"
memory() { sed -n 's/^ *"'$2'": \([0-9]*\),.*/\1/p' $1/result.json; }
[ $(($(memory r3 memory) - $(memory arise memory))) -gt $(($(memory r3 params) * 2)) ]
ok $? "and less memory" "$(memory r3 memory) $(memory arise memory), $(memory r3 params) parameters"
try "and again" 0 "" ranks 3 --out arise2 $arise
cmp -s arise/ckpt/last.state arise2/ckpt/last.state; ok $? "gradients sharded: the same bits"
try "and three micro-batches beside two, and no image" 0 "" ranks 3 --out arise3 $arise \
    --set 'dist.shares=[21, 2, 0]' --set train.accumulate=3
alike one arise3; ok $? "gradients sharded, uneven shares and micro-batches: the losses of one"
for n in 1 4; do "$jetcl" count exp.yaml --ranks $n --set dist.shard=gradients --json; done >counted.json
sed -n 's/.*"training_state": \([0-9]*\),.*/\1/p' counted.json | tr '\n' ' ' |
    awk '{ exit !(NF == 2 && $1 / $2 > 2.2 && $1 / $2 < 2.3) }'
ok $? "on four ranks 1 + 3 / 4 of the weights instead of 4" "$(grep state counted.json)"

# Which device a rank has, and that a GPU is shared.
try "a rank for each device" 0 "rank 1   0:0" "$jetcl" devices --device 0:0,0:0 --ranks
has "$out" shared; [ $? = 1 ]; ok $? "two ranks on a CPU are as they should be" "$out"
try "two ranks on one GPU" 0 "shared with another rank" env JETCL_FAKE=nvidia "$jetcl" devices --ranks=2
try "and in a run" 0 "and rank 0 compute on the same GPU" env JETCL_FAKE=nvidia \
    JETCL_CL_OPTIONS=-cl-opt-disable mpirun -n 2 "$jetcl" run exp.yaml --out shared --dry-run \
    --set model.moe.layers=[] --set model.depth=1                  # with optimisation PoCL takes four minutes
[ "$(echo "$out" | grep -c 'on the same GPU')" = 1 ]; ok $? "is warned of once" "$out"
try "shares of another number of ranks" 2 "dist.shares" ranks 3 --out bad --set 'dist.shares=[1, 2]'
try "a fault of all ranks is told once" 3 "no such checkpoint" ranks 2 --out bad --set model.init=nowhere.pth
[ "$(echo "$out" | grep -c 'no such checkpoint')" = 1 ]; ok $? "and only once" "$out"
try "a command for one process" 2 "without mpirun" mpirun -n 2 "$jetcl" count exp.yaml --set model.classes=10

try "nine steps of two ranks" 0 "" ranks 2 --out parts --set train.steps=9
rm -f parts/result.json
try "the rest of three" 0 "after step 9" ranks 3 --out parts --resume
alike one parts; ok $? "a state of two ranks continued by three: the losses of one"
rm -rf back; try "nine steps of three ranks" 0 "" ranks 3 --out back --set train.steps=9
rm -f back/result.json
try "the rest of one" 0 "after step 9" "$jetcl" run exp.yaml --out back --resume
alike one back; ok $? "a state of three ranks continued by one: the losses of one"

# Where one rank has all images nothing is rounded otherwise: the shards that others update and keep are to the
# bit those of one.
rm -rf s1 s3
try "nine steps of one" 0 "" "$jetcl" run exp.yaml --out s1 --set train.steps=9
try "nine steps of three, one of which computes" 0 "" ranks 3 --out s3 --set train.steps=9 \
    --set 'dist.shares=[0, 1, 0]'
cmp -s s1/ckpt/last.state s3/ckpt/last.state; ok $? "a state of three ranks is that of one, to the bit"
rm -f s1/result.json s3/result.json
try "one's state continued by four" 0 "after step 9" ranks 4 --out s1 --resume --set 'dist.shares=[0, 0, 0, 1]'
try "three's state continued by one" 0 "after step 9" "$jetcl" run exp.yaml --out s3 --resume
cmp -s s1/ckpt/last.state s3/ckpt/last.state; ok $? "states of any ranks continued by any are the same"
try "and have the bits of a run on one rank" 0 ", 0 differ" "$jetcl" inspect --diff one/ckpt/last.state \
    s1/ckpt/last.state

# Of P bytes of parameters each of n ranks sends 2 P (n - 1) / n.
try "what a step would take on a network" 0 "100 Gb/s" "$jetcl" run exp.yaml --dry-run
echo "$out" | sed -n 's/^\([248]\) ranks: each sends \([0-9.]*\) kB.*/\1 \2/p' \
    | awk '{ p[NR] = $2 * $1 / (2 * ($1 - 1)) } END {
           exit !(NR == 3 && p[1] > 450 && p[1] < 520 && p[2] / p[1] > 0.98 && p[2] / p[1] < 1.02 &&
                  p[3] / p[1] > 0.98 && p[3] / p[1] < 1.02) }'
ok $? "and what each rank would send" "$out"

# Evaluation: what is counted of every image is counted in its order.
last=one/ckpt/last.safetensors
timed "$jetcl" eval $last --json --save-logits one.safetensors 2>eval.log | sed 's/"seconds":[^,]*,//' >one.json
timed mpirun -n 3 "$jetcl" eval $last --json --save-logits three.safetensors 2>>eval.log |
    sed 's/"seconds":[^,]*,//' >three.json
[ -s one.json ] && cmp -s one.json three.json
ok $? "eval on three ranks: every digit of one" "$(tail -n 3 eval.log)"
cmp -s one.safetensors three.safetensors; ok $? "eval on three ranks: the logits of one, in order"
# Prediction: lines in the order of the images, whoever computed them; a damaged one is told once.
for i in 000 010 020 030 040 050 060 070 100 110 120 130 140 150 160 170 200; do
    bmp photos/a/$i.bmp 377 $i 000 && bmp photos/b/$i.bmp 000 $i 377
done
for form in "" "--json --top 3"; do
    timed "$jetcl" predict $last photos --set train.batch=4 $form >one.txt 2>predict.log
    for n in 2 3; do
        timed mpirun -n $n "$jetcl" predict $last photos --set train.batch=4 $form >ranks.txt 2>>predict.log
        [ "$(wc -l <one.txt)" -ge 34 ] && cmp -s one.txt ranks.txt
        ok $? "predict on $n ranks${form:+, $form}: the lines of one" "$(tail -n 3 predict.log)"
    done
done
echo 'no picture' >photos/a/015.bmp
timed "$jetcl" predict $last photos --set train.batch=4 --json --top 3 >one.txt 2>/dev/null
try "a damaged image among three ranks" 3 "1 of 35 images could not be read, the first:" \
    mpirun -n 3 "$jetcl" predict $last photos --set train.batch=4 --json --top 3
[ "$(echo "$out" | grep -c 'could not be read')" = 1 ] && [ "$(echo "$out" | grep '^{')" = "$(cat one.txt)" ]
ok $? "and once, beside all others' lines" "$out"
try "predict on devices by list" 0 "000.bmp" "$jetcl" predict $last photos/b --device 0:0,0:0
try "eval on devices by list" 0 "top-1" "$jetcl" eval $last --device 0:0,0:0
try "a fault at eval is told by all ranks once" 3 "No such file" mpirun -n 2 "$jetcl" eval $last --data nowhere

try "devices by list start the ranks, self-test included" 0 "-n 2 " env JETCL_CHECK=on "$jetcl" run \
    exp.yaml --out list --device 0:0,0:0
alike one list; ok $? "devices by list: the losses of one"

# Which images there are: rank 0 looks, others are told. Each rank has a folder of its own here.
three_classes first && sed 's/root: photos, //' first/small.yaml >listed.yaml
cp -r first second && bmp second/photos/train/ape/080.bmp 377 80 80 && mkdir second/photos/train/dog &&
    bmp second/photos/train/dog/000.bmp 0 0 0
cp -r first third && rm third/photos/train/bee/020.bmp
cp -r first fourth && rm -r fourth/photos/test/cat
try "images that all ranks have" 0 "top-1" two first first --out listed
try "images of a folder that rank 0 does not have" 0 "top-1" two first second --out listed2
cmp -s listed/ckpt/last.state listed2/ckpt/last.state; ok $? "are not looked for: the bits of rank 0's index"
for i in "third: third/photos/train/bee/020.bmp" "fourth: fourth/photos/test/cat" "nowhere: nowhere/photos"; do
    try "images that rank 1 lacks, ${i%%:*}" 3 "${i#*: }" two first "${i%%:*}" --out listed3
    [ "$(echo "$out" | grep -c 'jetcl:\|rank 1 (.*but rank 0 has it')" = 1 ] && [ ! -e listed3 ]
    ok $? "are told of once, by rank 1" "$out"
done
try "images that rank 0 lacks" 3 "$dir/nowhere/photos: No such file" two nowhere first --out listed3
[ "$(echo "$out" | grep -c 'data.root')" = 1 ] && ! has "$out" "rank 1" && [ ! -e listed3 ]
ok $? "are told of once, by rank 0" "$out"

# A long run whose rank 1 gets a signal, or dies.
long() { name=$1 n=$2; shift 2
    (timeout 300 "$@" --out "$name" --set train.steps=off --set train.epochs=100000 --set eval.every=off \
        --set keep.every=off --set log.every=20 >"$name.log" 2>&1 </dev/null; echo "exit $?" >>"$name.log") &
    until grep -q 'loss\|^exit' "$name.log" 2>/dev/null; do sleep 0.1; done; }
long signal 3 mpirun -n 3 "$jetcl" run exp.yaml
kill -USR1 "$(rank signal 1)"; wait
grep -q "^exit 75" signal.log && grep -q "stopped by a signal after step" signal.log &&
    [ -s signal/ckpt/last.state ]
ok $? "a signal at one rank stops all, saved" "$(tail -n 3 signal.log)"
# Stopped between two lines of metrics: the next one is of all ranks' losses since the last.
step=$(sed -n 's/.*after step \([0-9]*\);.*/\1/p' signal.log | tail -n 1)
to=$(((${step:-0} / 20 + 1) * 20))
for i in signal whole; do
    [ $i = signal ] && more=--resume || more=
    timeout 600 "$jetcl" run exp.yaml --out $i $more --set train.steps=$to --set train.epochs=100000 \
        --set eval.every=off \
        --set keep.every=off --set log.every=20 >$i.rest 2>&1 </dev/null
    grep '"train"' $i/metrics.jsonl | tail -n 1 | sed 's/.*"step":\([0-9]*\),"loss":\([^,]*\),.*/\1 \2/' >$i.txt
done
paste signal.txt whole.txt | awk '{ d = $2 / $4 - 1; exit !(NF == 4 && $1 == $3 && d < 0.05 && d > -0.05) }'
ok $? "continued by one, its next losses are of all ranks" \
    "$(paste signal.txt whole.txt; tail -n 2 signal.rest)"
# The process that started the ranks is the one a person or a scheduler knows.
for signal in INT TERM HUP USR1; do
    long parent$signal 2 "$jetcl" run exp.yaml --device 0:0,0:0
    for p in $(pgrep -x jetcl); do                # the one without a rank
        tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -q -- "--out parent$signal " || continue
        grep -Eqz "(OMPI_COMM_WORLD|PMI)_RANK" "/proc/$p/environ" || kill -$signal "$p"
    done; wait
    grep -q "^exit 75" parent$signal.log && [ -s parent$signal/ckpt/last.state ] && [ ! -e parent$signal/lock ]
    ok $? "SIG$signal at the starter of the ranks: saved, 75" "$(tail -n 3 parent$signal.log)"
done
long dead 3 "$jetcl" run exp.yaml --device 0:0,0:0,0:0
kill -9 "$(rank dead 1)"; start=$(date +%s); wait
grep -q "^exit 1$" dead.log && grep -q "rank 1 (.*0:0) is gone" dead.log && [ $(($(date +%s) - start)) -lt 60 ]
ok $? "a rank that dies ends the job with its name" "$(tail -n 3 dead.log)"
