#!/bin/sh
# test_readonly.sh: folders and files that are somebody else's, or may not be written: one line, exit 1, before
# a device is opened, and nothing is changed; what only reads still works. Root may do all: then as the user
# nobody.
. "$(dirname "$0")/run_help.sh"
three_classes .
experts_and_table small.yaml
try "a run" 0 "top-1" train small.yaml --out run
"$jetcl" compare small.yaml --device cpu --record a.jetcmp --steps 1 -q >/dev/null 2>&1
as=
if [ "$(id -u)" = 0 ]; then
    as=as_nobody
    $as test -r "$dir/small.yaml" -a -x "$jetcl" 2>/dev/null ||
        { echo "skip of another owner: nobody may not read here"; exit 0; }
fi
mkdir caches; chmod 777 caches; export HOME=$dir/caches JETCL_CACHE_DIR=$dir/caches POCL_CACHE_DIR=$dir/caches

# A folder that may not be written, in it a run that was not ended; files and folders in it that may not.
cp -r run whole; cp -r whole half; rm half/result.json; cp -r half ckpt; cp -r half metrics; cp -r half state
cp -r half config
chmod -R a-w half whole
chmod -R a+w ckpt metrics state config; chmod 555 ckpt/ckpt; chmod 444 metrics/metrics.jsonl
chmod 0 state/ckpt/last.state config/config.yaml
[ "$as" ] || chmod 555 .
everything() {
    find . -path ./caches -prune -o -type f ! -name stderr -printf '%p %T@ ' -exec sha256sum {} \; -o -print |
        sort
}
refused() { # refused NAME CODE TEXT arguments...
    name=$1 want=$2 text=$3; shift 3
    before=$(everything)
    said=$($as "$jetcl" "$@" 2>&1 >/dev/null </dev/null); code=$?
    [ $code = "$want" ] && has "$said" "$text" && [ "$(echo "$said" | grep -vc '^warning')" = 1 ]
    ok $? "$name" "exit $code, expected $want and one line with '$text': $said"
    [ "$before" = "$(everything)" ]; ok $? "$name: nothing is changed"
}
more="--set train.epochs=14"
refused "--resume" 1 "half: cannot write: Permission denied (a run needs a folder of its own" run small.yaml \
    --out half --resume $more
refused "--resume=CKPT" 1 "half: cannot write" run small.yaml --resume=half/ckpt/last.safetensors
refused "--resume=RUN" 1 "half: cannot write" run small.yaml --resume=half $more
refused "--force" 1 "half: cannot write" run small.yaml --out half --force
refused "a folder in it" 1 "half/new: cannot make the folder" run small.yaml --out half/new
refused "no runs/ to be made" 1 "runs: cannot make the folder" run small.yaml
refused "a table" 1 "half/small: cannot make the folder" table table.yaml --out half -q
refused "its ckpt/" 1 "ckpt/ckpt: cannot write" run small.yaml --out ckpt --resume $more
refused "its ckpt/, with --force" 1 "ckpt/ckpt: cannot write" run small.yaml --out ckpt --force
refused "its metrics" 1 "metrics/metrics.jsonl: cannot write" run small.yaml --out metrics --resume $more
refused "a state that may not be read" 3 "last.state: Permission denied" run small.yaml --out state \
    --resume $more -q
refused "a config.yaml that may not be read" 2 "config cannot be continued as its settings cannot be compared" \
    run small.yaml --out config --resume $more -q

# Every command that writes a file or a folder.
for command in "eval whole --confusion half/x.csv" "eval whole --per-class half/x.csv" \
    "eval whole --save-logits half/x.npz" \
    "convert run half/x.pth" "export run --onnx half/x.onnx" "report run --out half/x.html" \
    "analyse run --out half" \
    "analyse half" "analyse run --out half/a/b" "analyse run run --out half" \
    "compare small.yaml --device cpu,cpu@plain --out half" \
    "compare small.yaml --device cpu --record half/x.jetcmp" "compare a.jetcmp a.jetcmp --out half" \
    "recycle moe.yaml --out half/x.safetensors" "data show small.yaml --png half/x.png" \
    "data show small.yaml --tensor half/x.safetensors" "train small.yaml --out half/x" \
    "probe --weights run/ckpt/last.safetensors --input a.jetcmp --out half/x.safetensors small.yaml"; do
    refused "$command" 1 "cannot" $command
done

# What only reads.
reads() {
    said=$($as "$jetcl" "$@" 2>&1 </dev/null); code=$?
    [ $code = 0 ]; ok $? "$*" "exit $code: $said"
}
before=$(state whole)
reads eval whole
reads predict whole photos/test/ape
reads report whole --out caches/x.html
reads inspect whole/ckpt/last.safetensors
reads run small.yaml --out whole --resume
[ "$before" = "$(state whole)" ]; ok $? "and change nothing"
chmod -R u+w .
