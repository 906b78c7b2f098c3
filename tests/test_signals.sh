#!/bin/sh
# test_signals.sh: signals at every moment of a command, closed descriptors, and faults inside the driver.
. "$(dirname "$0")/run_help.sh"
drawn_sets 1 1 5
"$jetcl" run exp.yaml --out done >/dev/null 2>&1; ok $? "a run"

# send SIGNAL CODES FILE... -- arguments...: when FILE is there (or that many seconds have passed)
send() {
    signal=$1 codes=$2 when=$3; shift 3
    setsid "$jetcl" "$@" </dev/null >out 2>log & pid=$!
    case $when in
        [0-9]*) sleep "$when" ;;
        *) until [ -s "$when" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done ;;
    esac
    kill -$signal $pid 2>/dev/null; wait $pid 2>/dev/null; code=$?
    case " $codes " in *" $code "*) true ;; *) false ;; esac
}

for signal in HUP USR1 USR2; do
    send $signal 75 "run$signal/ckpt/last.state" run exp.yaml --out run$signal --set train.epochs=5000 -q
    ok $? "SIG$signal in training: saved, 75" "$code: $(cat log)"
done
[ ! -e runUSR1/lock ] && [ -z "$(ls runUSR1/ckpt | grep tmp)" ]
ok $? "nothing else is left" "$(ls runUSR1 runUSR1/ckpt)"
# While kernels are built: empty caches, as on a first run. A driver that is interrupted itself would say so,
# with 4.
for after in 0.2 0.5 0.9 1.4; do
    rm -rf cold early
    POCL_CACHE_DIR=$dir/cold/pocl JETCL_CACHE_DIR=$dir/cold send INT "75 130" $after run exp.yaml --out early
    ok $? "SIGINT after $after s" "$code: $(cat log)"
    [ ! -e early/ckpt/last.safetensors ] || [ -e early/ckpt/last.state ]
    ok $? "and what is there can be continued" "$(ls early/ckpt)"
done
send TERM "143 0" 0.3 eval exp.yaml done/ckpt/last.safetensors
ok $? "SIGTERM ends eval" "$code: $(cat log)"
send TERM "143 0" 0.3 predict exp.yaml done/ckpt/last.safetensors data
ok $? "and predict" "$code: $(cat log)"
# In an evaluation that is slow, looking for NaN after each node: after its first batches, of one image each.
# (A shell lets what is in the background ignore SIGINT, and eval leaves it so.)
for command in "eval exp.yaml done/ckpt/last.safetensors" "run exp.yaml --out long --set train.steps=1"; do
    : >log                                       # not the lines of the command before, until this one starts
    JETCL_TRACE=data,nan setsid "$jetcl" $command --set eval.batch=1 </dev/null >out 2>log & pid=$!
    until [ "$(grep -c ': 1 images after' log)" -gt 3 ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
    kill -TERM $pid 2>/dev/null; wait $pid; code=$?
    case "$command:$code" in eval*:143|run*:75) true ;; *) false ;; esac
    ok $? "SIGTERM in an evaluation (${command%% *})" "$code: $(tail -n 3 log)"
done
send HUP "129 0" 0.1 config exp.yaml --plan
ok $? "SIGHUP ends a command that saves nothing, as always" "$code: $(cat log)"

# Descriptors.
"$jetcl" run exp.yaml --out closed --set train.epochs=1 </dev/null 2>&- >/dev/null
ok $? "stderr closed"
! grep -qv '^{' closed/metrics.jsonl; ok $? "and metrics.jsonl holds metrics" "$(cat closed/metrics.jsonl)"
"$jetcl" run exp.yaml --out closed1 --set train.epochs=1 <&- >&- 2>&-; [ -s closed1/result.json ]
ok $? "all three closed"

# Files that are none.
mkfifo fifo
out=$(timeout 20 "$jetcl" config fifo 2>&1); code=$?
[ $code != 124 ] && [ $code -le 3 ]; ok $? "a FIFO as experiment" "$code: $out"
cp -r runUSR1 hostile; echo '{"split":"eval","epoch":-5,"step":1,"n":3,"top1":1e300}' >> hostile/metrics.jsonl
before=$(ls -l --time-style=full-iso hostile)
out=$("$jetcl" run exp.yaml --out hostile --resume 2>&1); code=$?
[ $code = 3 ] && [ "$before" = "$(ls -l --time-style=full-iso hostile)" ]
ok $? "a line in metrics.jsonl that this program did not write" "$code: $out"

# A kernel of the driver's cache, cut off.
case $("$jetcl" devices --json) in *"Portable Computing"*)
    export POCL_CACHE_DIR=$dir/damaged
    "$jetcl" eval exp.yaml done/ckpt/last.safetensors >/dev/null 2>&1
    find damaged -name '*.so' | while read -r f; do head -c 5000 "$f" > cut; cat cut > "$f"; done
    out=$("$jetcl" eval exp.yaml done/ckpt/last.safetensors 2>&1 >/dev/null </dev/null); code=$?
    [ $code = 4 ] && [ "$(echo "$out" | grep -c 'jetcl:')" = 1 ] &&
        case $out in *"$dir/damaged"*) true ;; *) false ;; esac
    ok $? "a damaged kernel cache" "$code: $out" ;;
*) echo "skip damaged_cache not PoCL" ;;
esac
