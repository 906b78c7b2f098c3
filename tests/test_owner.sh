#!/bin/sh
# test_owner.sh: several processes and one folder: who owns it, what is refused before anything is touched, how
# processes share a table, and what --resume and --force may do.
. "$(dirname "$0")/run_help.sh"

drawn_sets 1 1 5
try "a run" 0 "top-1" run exp.yaml --out done
[ ! -e done/lock ]; ok $? "its lock is gone"

cp -r done finished
printf 'jetcl lock 1\nelsewhere 12 34 - -\n2026-01-01 00:00:00\n' > finished/lock
try "a finished run of an owner that lives" 0 "is complete" run exp.yaml --out finished --resume
[ -e finished/lock ]; ok $? "is only read"
touch -d '10 minutes ago' finished/lock
try "and of one that could not remove its lock" 0 "finished/lock was left by process 12 on elsewhere" \
    run exp.yaml --out finished --resume
[ ! -e finished/lock ]; ok $? "is without it afterwards"

# ---- one owner
"$jetcl" run exp.yaml --out held --set train.epochs=5000 -q </dev/null >/dev/null 2>&1 &
pid=$!
until [ -s held/ckpt/last.state ] || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
try "a second process is refused" 1 "held is in use by process $pid on " run exp.yaml --out held --resume
try "with --force too" 1 "held is in use by process $pid on " run exp.yaml --out held --force
kill -KILL $pid; wait $pid 2>/dev/null
[ -e held/lock ]; ok $? "a killed owner leaves its lock"
: > held/ckpt/last.state.$pid.tmp; : > held/ckpt/mine.tmp
try "and the next one takes over" 0 "held/lock was left by process $pid on " \
    run exp.yaml --out held --resume --set train.epochs=1
[ ! -e held/ckpt/last.state.$pid.tmp ] && [ -e held/ckpt/mine.tmp ] && [ ! -e held/lock ]
ok $? "with what it had half written" "$(ls held held/ckpt)"
cp -r held stolen
printf 'jetcl lock 1\nelsewhere 12 34 - -\n2026-01-01 00:00:00\n' > stolen/lock
try "an owner on another machine counts while its lock is fresh" 1 "in use by process 12 on elsewhere" \
    run exp.yaml --out stolen --force
touch -d '10 minutes ago' stolen/lock
try "and no longer when it is old" 0 "process 12 on elsewhere" run exp.yaml --out stolen \
    --force --set train.steps=1
echo garbage > stolen/lock
untouched stolen "a file of that name that is not a lock" 3 "not a lock of this program" \
    run exp.yaml --out stolen --force

# ---- a file system without hard links
shim() { name=$1; shift; LD_PRELOAD=$build/faults.so FAULT_BELOW=$dir FAULT=$name "$@"; }
if [ -e "$build/faults.so" ]; then
    out=$(shim link:-1:EPERM "$jetcl" run exp.yaml --out nolinks 2>&1 </dev/null); code=$?
    [ $code = 0 ] && ! has "$out" warning; ok $? "a run where nothing can be linked" "$code: $out"
    bad=0; for f in epoch_0001.state epoch_0002.state epoch_0001.safetensors epoch_0002.safetensors; do
        cmp -s done/ckpt/$f nolinks/ckpt/$f || bad=1; done
    ok $bad "keeps the same epochs" "$(ls -l done/ckpt nolinks/ckpt)"
    [ ! -e nolinks/lock ]; ok $? "and its lock is gone"
    out=$(shim unlink:1:EIO "$jetcl" run exp.yaml --out draft -q 2>&1 </dev/null); code=$?
    [ $code = 0 ] && [ -s draft/result.json ] && [ -z "$(find draft -name 'lock*')" ]
    ok $? "a lock's draft that cannot be removed at once goes with the lock" "$code: $out $(ls draft)"
    # The machine's want is not a mistake in the file.
    for fault in mmap:1:ENOMEM open:1:EMFILE; do
        out=$(shim $fault "$jetcl" run exp.yaml --out want -q 2>&1 </dev/null); code=$?
        [ $code = 1 ] && [ "$(echo "$out" | wc -l)" = 1 ] && has "$out" "exp.yaml" && [ ! -e want ]
        ok $? "an experiment that cannot be read: $fault" "$code: $out"
    done
    (export LD_PRELOAD="$build/faults.so" FAULT_BELOW="$dir" FAULT=link:-1:EPERM
     exec "$jetcl" run exp.yaml --out held2 --set train.epochs=5000 -q </dev/null >/dev/null 2>&1) &
    pid=$!
    until [ -s held2/ckpt/last.state ] || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
    out=$(shim link:-1:EPERM "$jetcl" run exp.yaml --out held2 --resume 2>&1 </dev/null); code=$?
    [ $code = 1 ] && has "$out" "held2 is in use by process $pid on "; ok $? "one owner there too" "$code: $out"
    kill -KILL $pid; wait $pid 2>/dev/null
    : > held2/lock; touch -d '10 minutes ago' held2/lock
    try "a lock that was never written is taken over" 0 "held2/lock was left by process 0 on -" \
        run exp.yaml --out held2 --resume --set train.epochs=1
    : > held2/lock
    try "a fresh one may be about to be" 1 "held2 is in use" run exp.yaml --out held2 --force
    rm held2/lock
    # No thread to save on: each of those that are made in turn.
    for n in 1 2 3 4 5 6 7 8; do
        out=$(shim pthread_create:$n:EAGAIN "$jetcl" run exp.yaml --out nothread.$n --device 0:0 \
                  2>&1 </dev/null)
        code=$?
        case $code in
            0) cmp -s done/ckpt/last.state nothread.$n/ckpt/last.state ;;
            134) has "$out" "PTHREAD ERROR" ;;            # PoCL's, which had them all a moment ago
            *) [ "$(echo "$out" | grep -c '^jetcl')" = 1 ] && [ $code -le 4 ] ;;
        esac; ok $? "thread $n cannot be made" "$code: $out"
    done
    out=$(shim pthread_create:-1:EAGAIN "$jetcl" run exp.yaml --out nothread 2>&1 </dev/null); code=$?
    [ $code = 4 ] && [ "$(echo "$out" | grep -c '^jetcl')" = 1 ] &&
        has "$out" "threads, and cannot have them" &&
        [ ! -e nothread ]; ok $? "no thread at all" "$code: $out"
fi

# ---- --force
mkdir -p foreign/ckpt && echo mine > foreign/ckpt/last.safetensors
rm -r foreign/ckpt; mkdir foreign/photos; echo mine > foreign/photos/metrics.jsonl
untouched foreign "--force over no run folder" 2 "foreign holds no run" run exp.yaml --out foreign --force
untouched done "--force over what the run starts from" 2 "done holds model.init" \
    run exp.yaml --out done --force --set model.init=done/ckpt/last.safetensors
untouched done "--force with an input that is missing" 3 "no such checkpoint" \
    run exp.yaml --out done --force --set model.init=gone.safetensors
cp -r done forced; echo mine > forced/ckpt/notes.txt; echo mine > forced/notes.txt
try "--force over a run" 0 "top-1" run exp.yaml --out forced --force --set train.steps=1
[ -e forced/notes.txt ] && [ -e forced/ckpt/notes.txt ] && [ ! -e forced/ckpt/epoch_0001.safetensors ]
ok $? "removes what a run wrote and nothing else"
try "a new run that cannot start leaves no folder" 3 "no such checkpoint" \
    run exp.yaml --out new/a/b --set model.init=gone.safetensors
[ ! -e new ]; ok $? "none of those made for it either"
mkdir fresh && cd fresh || exit 1
try "nor in the default place; it says what makes the checkpoint" 3 "as \`jetcl table demo\`" run demo
cd "$dir" && rmdir fresh; ok $? "which is empty then"

# ---- --resume
untouched done "a checkpoint without a state" 3 "no state was saved with it" \
    run exp.yaml --resume=done/ckpt/best.safetensors
cp -r done lost; rm lost/ckpt/last.state lost/result.json
untouched lost "a run whose state is gone" 3 "lost/ckpt/last.state is missing" run exp.yaml --out lost --resume
cp done/ckpt/last.safetensors alone.pth
untouched . "a checkpoint of another program" 3 "no state was saved with it" run exp.yaml --resume=alone.pth
untouched . "any file" 3 "no state was saved with it" run exp.yaml --resume=/etc/passwd

# ---- tables
cat > table.yaml <<END
columns: [{name: one, set: {optim: {eps: 1e-7}}}, {name: two, set: {optim: {eps: 1e-6}}}]
seeds: [1]
rows: [{name: A, cells: [exp.yaml]}, {name: B, cells: [exp.yaml], set: {optim: {lr: 2e-3}}}]
END
try "a sweep over what rows set is refused" 2 "--set optim.lr=1 is over optim.lr of these rows" \
    table table.yaml --set optim.lr=1
try "or columns" 2 "over optim.eps of these columns" table table.yaml --set optim.eps=1e-5
for i in 1 2; do
    "$jetcl" table table.yaml --out shared --csv --set train.epochs=1 >table.$i 2>log.$i </dev/null &
done
wait
"$jetcl" table table.yaml --out one --csv --set train.epochs=1 >table.0 2>log.0 </dev/null
for i in 1 2; do cmp -s table.0 table.$i; ok $? "process $i of a shared table prints what one alone does" \
    "$(cat log.$i)"; done
runs=$(cat log.1 log.2 | grep -c 'top1 .* after ')
again=$(cat log.1 log.2 | grep -c 'nothing is left to do')
[ $((runs - again)) = 4 ]; ok $? "each of four cells was run once" "$runs ended, $again of them found done"
bad=0; for f in shared/small/*/metrics.jsonl; do [ "$(grep -c '"split":"eval"' "$f")" = 1 ] || bad=1; done
ok $bad "and evaluated once"
[ ! -e shared/small/latest ]; ok $? "cells do not move latest"
try "who does what" 0 "done     shared/small/seed-1-" table table.yaml --out shared \
    --status --set train.epochs=1
first=$(ls -d shared/small/seed-1-* | head -n 1); rm "$first/result.json"
printf 'jetcl lock 1\nelsewhere 12 34 - -\n2026-01-01 00:00:00\n' > "$first/lock"
try "and who runs what" 0 "(process 12 on elsewhere since 2026-01-01" \
    table table.yaml --out shared --status --set train.epochs=1
"$jetcl" table table.yaml --out shared --set train.epochs=1 >/dev/null 2>waits </dev/null &
pid=$!
until grep -q 'waiting' waits || ! kill -0 $pid 2>/dev/null; do sleep 0.05; done
grep -q '1 experiment is run by other processes' waits; ok $? "a table waits for what others run" "$(cat waits)"
kill -TERM $pid; wait $pid; [ $? = 143 ]; ok $? "until it is told to end" "$(cat waits)"
