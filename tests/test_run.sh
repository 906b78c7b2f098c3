#!/bin/sh
# test_run.sh: training, evaluating, predicting and continuing as a user does, on a folder of its own; faults
# and exit codes.
. "$(dirname "$0")/run_help.sh"

drawn_sets 2 2 1

try train 0 "top-1" run exp.yaml --out whole
for f in config.yaml env.json metrics.jsonl log.txt result.json \
         ckpt/last.safetensors ckpt/last.state ckpt/best.safetensors; do
    [ -s "whole/$f" ]; ok $? "run folder: $f"
done
[ "$(ls whole/ckpt | grep -c "epoch_.*safetensors")" = 1 ]; ok $? "one epoch file stays"
[ whole/ckpt/epoch_*.safetensors -ef whole/ckpt/last.safetensors ]
ok $? "and is the last save under another name"
[ "$(grep -c '"split"' whole/metrics.jsonl)" = "$(tail -n +2 whole/metrics.csv | wc -l)" ] &&
    awk -F, 'NF != 15 { exit 1 }' whole/metrics.csv
ok $? "metrics.csv has a row for each line" "$(head -3 whole/metrics.csv)"
try "a folder in use is refused" 2 "--resume" run exp.yaml --out whole
try "the resolved file runs" 0 "top-1" run whole/config.yaml --out again
cmp -s whole/ckpt/last.safetensors again/ckpt/last.safetensors; ok $? "and repeats the run bit for bit"

# Half of it, then the rest: the same bytes. train.steps stops in the middle of the second epoch.
try "first part" 0 "" run exp.yaml --out parts --set train.steps=9
rm -f parts/result.json
try "the rest" 0 "" run exp.yaml --out parts --resume
cmp -s whole/ckpt/last.safetensors parts/ckpt/last.safetensors; ok $? "a resumed run ends in the same bytes"
grep -q '"event":"resume"' parts/metrics.jsonl; ok $? "the resume is on record"
try "from a checkpoint" 0 "" run exp.yaml --out child --set model.init=whole/ckpt/last.safetensors \
    --set train.steps=1
grep -q "\"sha256\": \"$(sha256sum whole/ckpt/last.safetensors | cut -d' ' -f1)\"" child/env.json
ok $? "its hash is on record"

"$jetcl" run exp.yaml --out stopped --set train.epochs=500 -q </dev/null >/dev/null 2>&1 &
pid=$!
until [ -s stopped/ckpt/last.state ] || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -TERM $pid; wait $pid
[ $? = 75 ]; ok $? "SIGTERM saves and exits with 75"
grep -q "epoch 1/" stopped/log.txt; ok $? "a quiet run keeps its log"
[ -s stopped/ckpt/last.state ] && [ ! -e stopped/result.json ]; ok $? "what it saved can be continued"

# Stopped before anything was saved, recycling ends as signals do; in a run it is a stage that --resume begins
# again.
cat > moe.yaml <<EOF
base: exp.yaml
name: moe
model: {moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: whole/ckpt/last.safetensors}, images: 256, batch: 64}
EOF
slow="--set model.image=96 --set model.patch=8 --set model.dim=192 --set model.depth=12"
try "a predecessor that takes its time" 0 "" \
    run exp.yaml --out slow --set train.steps=1 --set train.batch=8 $slow
# interrupted CODE MESSAGE arguments...: SIGINT as soon as activations are measured. Where kernels take more
# than two seconds to build at that moment, it ends as a command that has nothing yet.
interrupted() {
    want=$1 text=$2; shift 2
    : > log
    JETCL_TRACE=data "$jetcl" "$@" $slow --set recycle.from.experts=slow/ckpt/last.safetensors \
        --set recycle.images=1800 --cache-dir "$dir/none" </dev/null >/dev/null 2>log &
    pid=$!
    until grep -q 'batch 0:' log || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
    kill -INT $pid; wait $pid; code=$?
    { [ $code = "$want" ] && grep -q "$text" log; } || { [ $code = 130 ] &&
        grep -q "before anything was saved" log; }
    ok $? "SIGINT: jetcl $1" "exit $code, wanted $want: $(cat log)"
}
interrupted 130 "nothing was written" recycle moe.yaml --out none.safetensors
[ ! -e none.safetensors ]; ok $? "and leaves nothing"
interrupted 75 "resume does it again" run moe.yaml --out moe
try "and it does" 0 "top-1" run moe.yaml --out moe --resume

try evaluate 0 "of a/test" eval exp.yaml whole/ckpt/last.safetensors \
    --per-class classes.csv --confusion confusion.csv
[ "$(wc -l < classes.csv)" = 11 ] && [ "$(wc -l < confusion.csv)" = 11 ]; ok $? "a row for every class"
try "evaluate as JSON" 0 '"top1":' eval exp.yaml whole/ckpt/last.safetensors --json -q
image=$(find data -name '*.png' | head -n 1)
try predict 0 "image,rank,class,name,probability" \
    predict exp.yaml whole/ckpt/last.safetensors "$image" --top 3
lines=$("$jetcl" predict exp.yaml whole/ckpt/last.safetensors "$image" --top 3 -q | wc -l)
[ "$lines" = 4 ]; ok $? "three classes of one image"
try "predict as JSON" 0 '"top":[{"class":' predict exp.yaml whole/ckpt/last.safetensors "$image" --json
try "graph of a step" 0 "cross_entropy" config exp.yaml --graph
try "plan of a step" 0 "without reuse" config exp.yaml --plan
try "launches of a step" 0 "layernorm_grad" config exp.yaml --launches
try "dry run" 0 "dry run: kernels ready" run exp.yaml --dry-run --out dry
[ ! -e dry ]; ok $? "a dry run writes nothing"

"$jetcl" run exp.yaml --out short --set train.steps=1 --json -q > short.json
grep -q '"img_s":null' short.json; ok $? "what is not known is null in JSON" "$(cat short.json)"
try "a new run says where" 0 "run folder runs/small/2" run exp.yaml --set train.steps=1
try "converting says what was written" 0 "last.npz: " convert whole/ckpt/last.safetensors last.npz

try "a complete run is only read" 0 "nothing is left to do" run exp.yaml --out whole --resume
try "a new run or an old one" 2 "give only one of them" run exp.yaml --out whole --resume --force --set seed=7
try "one folder" 2 "do not give --out" run exp.yaml --out x --resume=whole

# What happens inside.
times=$(JETCL_TRACE=time "$jetcl" run exp.yaml --out timed --set train.steps=1 2>&1 >/dev/null)
has "$times" "[time] graph: " && has "$times" " x matmul "; ok $? "kernels by their time" "$times"
echo "$times" | awk '/graph: /{ on = 1; n += $(NF - 1); last = 0; next } /\[time\] [a-z ]*: /{ on = 0 }
    on && / x /{ for (i = 1; i < NF; i++) if ($(i + 1) == "x") seen += $i
                  if ($2 > last && last) bad = 1; last = $2 }
    END { exit bad || seen != n }'; ok $? "every launch is in the table, the slowest kernel first" "$times"
out=$(JETCL_TRACE=nan "$jetcl" run exp.yaml --out bad --set optim.lr=1000 --set optim.weight_decay=1000 \
    --set schedule.warmup_epochs=off --set train.clip_norm=off 2>&1); code=$?
[ $code = 5 ] && has "$out" "not a number at element"
ok $? "the first node that is not a number" "exit $code: $out"
try "a recycling is tried" 0 "parameters" recycle moe.yaml --dry-run --set recycle.strategy=graph
out=$("$jetcl" recycle moe.yaml --out moe.safetensors 2>/dev/null)
has "$out" "strategy importance" && has "$out" "1        100.0"; ok $? "a recycling tells what it kept" "$out"
"$jetcl" data verify demo --root "$dir/data" --json >verify.json
grep -q '"images": 1800' verify.json && grep -q '"damaged": 0' verify.json &&
    grep -q '"problems": 0' verify.json
ok $? "verify as JSON"

# What can be wrong.
try "no place for tuning results" 1 "cannot make the folder: File exists" tune exp.yaml --cache-dir exp.yaml
try "weights that are not there" 3 "no such checkpoint (README, " run exp.yaml --out x --set model.init=gone.npz
mkdir -p foreign empty; : > foreign/notes.txt
try "no run to resume" 2 "foreign holds no run to resume" run exp.yaml --out foreign --resume
try "a warm-up that never ends" 0 "the learning rate never reaches optim.lr" \
    run exp.yaml --dry-run --set schedule.warmup_epochs=20
try "no image in a folder" 3 "empty: no image in this folder" \
    predict exp.yaml whole/ckpt/last.safetensors empty
try "no such split" 3 "no split 'val' there; its folders: " \
    run exp.yaml --dry-run --set data.set=folder --set data.train=val --set data.root=$dir
try "no such strategy" 2 "recycling strategy" run exp.yaml --out x --set recycle.strategy=best
try "no such image" 3 "nothing.jpg: No such file" predict exp.yaml whole/ckpt/last.safetensors nothing.jpg
head -c 300 "$image" > cut.png; head -c 200 /dev/urandom > noise.jpg
try "a truncated picture" 3 "cut.png" predict exp.yaml whole/ckpt/last.safetensors cut.png
try "no picture at all" 3 "noise.jpg" predict exp.yaml whole/ckpt/last.safetensors noise.jpg
try "no such checkpoint" 3 "gone.safetensors" eval exp.yaml gone.safetensors
head -c 5000 whole/ckpt/last.safetensors > cut.safetensors
try "a truncated checkpoint" 3 "cut.safetensors" eval exp.yaml cut.safetensors
try "no such predecessor" 3 "recycle.from.experts" \
    run exp.yaml --out x --set model.moe.layers=[1] --set recycle.from.experts=gone.pth
try "a truncated predecessor" 3 "cut.safetensors" \
    run exp.yaml --out x --set model.moe.layers=[1] --set recycle.from.experts=cut.safetensors
try "nothing to start from" 3 "model.init" run exp.yaml --out x --set model.init=gone.safetensors
[ ! -e x ]; ok $? "and no folder is made"
try "weights of another model" 3 "" eval exp.yaml whole/ckpt/last.safetensors --set model.dim=32
try "a device that computes nothing" 2 "there would be no result" eval exp.yaml whole/ckpt/last.safetensors \
    --device null
try "no such device" 4 "nosuch" run exp.yaml --out x --device nosuch
try "no data" 3 "" run exp.yaml --out x --set data.set=folder --set data.root=/nonexistent
try "a batch larger than the set" 2 "train.batch" run exp.yaml --out x --set train.batch=100000
try "more than memory" 4 "training needs" \
    run exp.yaml --out x --set model.dim=8192 --set model.depth=64 --set model.heads=64
try "a loss that runs away" 5 "lower optim.lr" \
    run exp.yaml --out away --set optim.lr=1000 --set optim.weight_decay=1000 --set schedule.warmup_epochs=off \
    --set train.clip_norm=off --set log.every=1
[ ! -e x ]; ok $? "nothing of this left a run folder"
