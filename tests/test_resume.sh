#!/bin/sh
# test_resume.sh: whatever ends a run, and wherever: what --resume makes of it is what an undisturbed run makes,
# to the bit; and what cannot be continued is refused before anything is touched.
. "$(dirname "$0")/run_help.sh"
# What must not depend on when a run was disturbed: without times, speeds and the resumes themselves.
essence() {
    cat "$1"/ckpt/*.safetensors | sha256sum
    grep -v '"event"' "$1/metrics.jsonl" | sed 's/"\(t\|img_s\|data_s\|run_s\|s\|mem\)":[^,}]*//g'
    sed 's/"\(seconds\|img_s\|memory\|saves\|save_wait\|save_seconds\)":.*//' "$1/result.json"
}
same() {
    essence "${3:-whole}" >want
    essence "$1" >got
    cmp -s want got
    ok $? "$2" "$(diff want got | head -n 6)"
}

cat > exp.yaml <<END
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: 2}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: 1, heads: 2, drop_path: 0.1}
train: {epochs: 4, batch: 100, ema: 0.9}
optim: {lr: 1e-3, layer_decay: off}
log: {every: 7}
eval: {every: 1, batch: 50}
schedule: {warmup_epochs: 1}
keep: {every: 2, last: 5}
END
try "undisturbed" 0 "top-1" run exp.yaml --out whole
steps=$(sed -n 's/.*"steps": \([0-9]*\).*/\1/p' whole/result.json)

# A cluster's scheduler: ended again and again, each time with the same command.
i=0 code=75
while [ $code = 75 ] && [ $i -lt 30 ]; do
    : > log
    JETCL_TRACE=data "$jetcl" run exp.yaml --out often --resume -q </dev/null >/dev/null 2>log & pid=$!
    until [ "$(grep -c ' batch ' log)" -ge $((3 + i % 5)) ] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
    [ $i -lt 10 ] && kill -USR1 $pid 2>/dev/null
    wait $pid; code=$?
    i=$((i + 1))
done
[ $code = 0 ] && [ $i -ge 5 ]; ok $? "pre-empted $((i - 1)) times" "exit $code: $(tail -n 3 log)"
same often "and equal to the undisturbed run"

# Killed outright: everything since the last save is done again. keep.minutes: here, after every step.
for every in 0.0000001 off; do
    "$jetcl" run exp.yaml --out whole$every --set keep.minutes=$every -q </dev/null >/dev/null 2>&1
    for i in 1 2 3; do
        : > log
        JETCL_TRACE=data "$jetcl" run exp.yaml --out killed$every --resume --set keep.minutes=$every \
            -q </dev/null >/dev/null 2>log & pid=$!
        until [ "$(grep -c ' batch ' log)" -ge $((10 * i)) ] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
        kill -KILL $pid 2>/dev/null; wait $pid 2>/dev/null
    done
    "$jetcl" run exp.yaml --out killed$every --resume --set keep.minutes=$every </dev/null >/dev/null 2>log
    same killed$every \
        "killed three times, saving $([ $every = off ] && echo 'every second epoch' || echo 'at any step')" \
        whole$every
done
[ -z "$(ls killedoff/ckpt | grep tmp)" ]; ok $? "no half files are left"

# Whatever is kept, and how often: COMBINATIONS=N draws more of them.
for i in $(seq "${COMBINATIONS:-3}"); do
    keep=$(awk -v seed="$i" 'function pick(list,  w, n) {
                n = split(list, w, " "); return w[1 + int(rand() * n)] }
        BEGIN { srand(seed); print "--set keep.every=" pick("off 1 2 3"), "--set keep.last=" pick("0 1 2 5"),
            "--set keep.states=" pick("on off"), "--set keep.best=" pick("0 1"),
            "--set keep.minutes=" pick("off 0.0000001 0.001"),
            "--set eval.every=" pick("1 2 off"), "--set log.every=" pick("1 3 50") }')
    "$jetcl" run exp.yaml --out straight$i $keep -q </dev/null >/dev/null 2>&1
    n=0 code=75
    while [ $code != 0 ] && [ $n -lt 8 ]; do
        : > log
        JETCL_TRACE=data "$jetcl" run exp.yaml --out drawn$i --resume $keep -q </dev/null >/dev/null 2>log & \
            pid=$!
        until [ "$(grep -c ' batch ' log)" -ge $((4 + 5 * i % 7)) ] ||
            ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
        [ $n -ge 6 ] || kill -$([ $((n % 2)) = 0 ] && echo KILL || echo USR1) $pid 2>/dev/null
        wait $pid; code=$?; n=$((n + 1))
    done
    same drawn$i "$n processes with $keep" straight$i
    [ "$(ls drawn$i/ckpt)" = "$(ls straight$i/ckpt)" ]
    ok $? "and the same files" "$(ls drawn$i/ckpt straight$i/ckpt)"
done

# From an earlier checkpoint: what comes after it comes again.
cp -r whole back
try "from the checkpoint of epoch 2" 0 "continuing after step $((steps / 2))" \
    run exp.yaml --resume=back/ckpt/epoch_0002.safetensors
same back "and the same again"

# What may change, and what may not.
"$jetcl" run exp.yaml --out part --set train.steps=5 >/dev/null 2>&1
try "another batch in the middle of an epoch" 0 "top-1" \
    run exp.yaml --out part --resume --set train.batch=64 --set train.accumulate=2 --set data.workers=1
cp -r whole w; rm w/result.json
untouched w "another seed" 2 "seed was 3407 and is 7" run exp.yaml --out w --resume --set seed=7
untouched w "another width" 2 "model.dim was 16 and is 32" run exp.yaml --out w --resume --set model.dim=32
untouched w "another split" 2 "data.train was a/train and is b/train" \
    run exp.yaml --out w --resume --set data.train=b/train --set model.classes=auto --set data.eval=b/test

"$jetcl" run exp.yaml --out plain --set train.epochs=1 --set train.ema=off --set keep.last=0 >/dev/null 2>&1
rm plain/result.json
untouched plain "averaged weights where there were none" 3 "or of a run without train.ema" \
    run exp.yaml --out plain --resume

# Damage.
size=$(wc -c < w/ckpt/last.state)
for at in 40 $((size / 2)) $((size - 5)); do
    cp whole/ckpt/last.state w/ckpt/last.state
    byte=$(od -An -tu1 -j $at -N 1 w/ckpt/last.state)
    printf "\\$(printf %o $((byte ^ 1)))" | dd of=w/ckpt/last.state bs=1 seek=$at conv=notrunc 2>/dev/null
    untouched w "a flipped bit at byte $at of $size" 3 "last.state" run exp.yaml --out w --resume
done
head -c 1000 whole/ckpt/last.state > w/ckpt/last.state
untouched w "a truncated state" 3 "last.state" run exp.yaml --out w --resume
cp whole/ckpt/last.safetensors w/ckpt/last.state
untouched w "something else in its place" 3 "not a state" run exp.yaml --out w --resume

# The report of recycling is made again from the checkpoint, statistics that are damaged are measured again.
cat > moe.yaml <<END
base: exp.yaml
name: moe
model: {depth: 2, moe: {layers: [1], core: 2, universal: 2}}
train: {steps: 1}
recycle: {from: {experts: deep/ckpt/last.safetensors}, images: 128, batch: 64, compare: off,
          strategy: importance}
END
"$jetcl" run exp.yaml --out deep --set model.depth=2 --set train.steps=1 >/dev/null 2>&1
try "a mixture" 0 "top-1" run moe.yaml --out moe --cache-dir cache
cp moe/recycle.json report.json; rm moe/recycle.json moe/result.json moe/ckpt/last.*
try "killed before its report was written" 0 "top-1" run moe.yaml --out moe --resume --cache-dir cache
cmp -s moe/recycle.json report.json; ok $? "and it is there"
kept=$(find cache -name '*.safetensors' | head -n 1)
printf 'x' | dd of="$kept" bs=1 seek=$(($(wc -c < "$kept") - 3)) conv=notrunc 2>/dev/null
out=$("$jetcl" recycle moe.yaml --out r.safetensors --cache-dir cache 2>&1)
[ $? = 0 ] && ! has "$out" "statistics of 128 images from"; ok $? "damaged statistics are measured again" "$out"
try "and then are whole" 0 "statistics of 128 images from" recycle moe.yaml --out r.safetensors \
    --force --cache-dir cache
