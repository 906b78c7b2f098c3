#!/bin/sh
# test_inputs.sh: every input of every command: missing, empty, of another kind, a folder, unreadable: exit code
# 2 or 3, one line that names it, nothing written. A command that commands.def has and the table below has not
# is a failure.
. "$(dirname "$0")/run_help.sh"
source=$here

for split in train test; do
    for i in 1 2 3 4; do bmp photos/$split/a/$i.bmp 377 ${i}0 0; bmp photos/$split/b/$i.bmp 0 ${i}0 377; done
done
cat > exp.yaml <<'END'
name: small
data: {set: folder, root: photos, train: train, eval: test, workers: 1}
model: {arch: vit, image: 16, patch: 8, dim: 16, depth: 2, heads: 2, drop_path: off}
train: {epochs: 1, batch: 4}
optim: {lr: 1e-3, layer_decay: off}
schedule: {warmup_epochs: off}
augment: {randaugment: off, mixup: off, cutmix: off, erasing: off}
END
experts_and_table exp.yaml
try "a run to start from" 0 "top-1" run exp.yaml --out run
ckpt=run/ckpt/last.safetensors
"$jetcl" analyse run --out maps --save-images x.safetensors -q >/dev/null 2>&1; [ -s x.safetensors ]
ok $? "a batch of images"
"$jetcl" compare exp.yaml --device cpu --record a.jetcmp --steps 1 -q >/dev/null 2>&1; [ -s a.jetcmp ]
ok $? "a record"
rm -rf runs maps

# KIND ARGUMENTS, @ is the input: yaml, table, ckpt, run (a folder or a checkpoint), data (a folder), image,
# record
table() { cat <<END
yaml run @ --out new
ckpt run exp.yaml --set model.init=@ --out new
ckpt run moe.yaml --set recycle.from.experts=@ --out new
ckpt run moe.yaml --set recycle.from.dense=@ --out new
data run exp.yaml --set data.root=@ --out new
run run exp.yaml --resume=@
yaml run @ --dry-run
yaml train @ --out new
ckpt train exp.yaml --set model.init=@ --out new
data train exp.yaml --set data.root=@ --out new
yaml recycle @ --out new.safetensors
ckpt recycle moe.yaml --set recycle.from.experts=@ --out new.safetensors
data recycle moe.yaml --set data.root=@ --out new.safetensors
run eval @
yaml eval @ $ckpt
ckpt eval exp.yaml @
data eval $ckpt --data @
run predict @ photos/test/a/1.bmp
yaml predict @ $ckpt photos/test/a/1.bmp
image predict $ckpt @
run analyse @ --out new
image analyse $ckpt --images @ --out new
data analyse $ckpt --data @ --out new
yaml count @
ckpt probe --weights @ --input x.safetensors --out new.safetensors exp.yaml
ckpt probe --weights $ckpt --input @ --out new.safetensors exp.yaml
yaml probe --weights $ckpt --input x.safetensors --out new.safetensors @
yaml compare @ --device cpu,cpu@plain --steps 1 --out new
record compare @ a.jetcmp --out new
record compare a.jetcmp @ --out new
table table @ --out new
table table @ --out new --dry-run
table table @ --out new --status
run report @ --out new.html
table report @ --out new.html
yaml config @
yaml config @ --graph
ckpt inspect @
ckpt inspect --model @
ckpt inspect --diff $ckpt @
ckpt convert @ new.safetensors
ckpt convert --raw @ new.npz
run export @ --onnx new.onnx
ckpt export exp.yaml @ --onnx new.onnx
yaml tune @ --minutes 0.01
yaml data verify @
yaml data show @ --png new.png
yaml data stats @
yaml data speed @ --seconds 0.1
data data verify exp.yaml --root @
END
}
no_inputs="devices bench help"               # names and sizes only
for command in $(sed -n 's/^COMMAND(\(.*\))/\1/p' "$source/core/cli/commands.def"); do
    { table | cut -d' ' -f2; echo "$no_inputs"; } | tr ' ' '\n' | grep -qx "$command"
    ok $? "$command: its inputs are tried"
done

mkdir inputs inputs/folder.yaml inputs/folder.safetensors inputs/folder.bmp inputs/folder.jetcmp inputs/folder
: > inputs/empty.yaml; : > inputs/empty.safetensors; : > inputs/empty.bmp; : > inputs/empty.jetcmp
mkdir inputs/empty
cp exp.yaml inputs/other.safetensors; cp exp.yaml inputs/other.bmp; cp exp.yaml inputs/other.jetcmp
cp exp.yaml inputs/other
cp $ckpt inputs/other.yaml
cp exp.yaml inputs/locked.yaml; cp $ckpt inputs/locked.safetensors; cp a.jetcmp inputs/locked.jetcmp
cp -r photos inputs/locked
cp photos/test/a/1.bmp inputs/locked.bmp; cp -r run inputs/locked.run
chmod 0 inputs/locked.yaml inputs/locked.safetensors inputs/locked.bmp inputs/locked.jetcmp inputs/locked \
    inputs/locked.run
suffix() {
    case $1 in yaml|table) echo .yaml ;; ckpt|run) echo .safetensors ;; image) echo .bmp ;; record) \
        echo .jetcmp ;; esac
}

# Root reads everything: then as the user nobody.
locked=1
if [ "$(id -u)" = 0 ]; then
    chmod 777 .; as_nobody test -r "$dir/exp.yaml" -a -x "$jetcl" 2>/dev/null || locked=0
fi
there() {
    find . ! -path './cache*' ! -path './inputs/locked*' ! -name stdout ! -name stderr 2>/dev/null | sort
}

one() { # one HOW INPUT ARGUMENTS
    how=$1 words=$(echo "$3" | sed "s|@|$2|"); before=$(there)
    run_as=; [ "$how" = unreadable ] && [ "$(id -u)" = 0 ] && run_as=as_nobody
    $run_as "$jetcl" $words -q </dev/null >stdout 2>stderr; code=$?
    case $code in 2|3) true ;; *) false ;; esac && [ "$(wc -l < stderr)" = 1 ] && grep -q '^jetcl: ' stderr &&
        [ "$before" = "$(there)" ]
    ok $? "$how: $3" "exit $code, $(wc -l < stderr) lines: $(head -c 400 stderr);
        new: $(there | grep -vxF "$before" | head -n 3)"
}
table | while read -r kind line; do
    [ "$kind" = image ] || [ "$kind" = data ] || [ "$kind" = run ] ||
        one "a folder" "inputs/folder$(suffix $kind)" "$line"
    one "missing" "inputs/none$(suffix $kind)" "$line"
    one "empty" "inputs/empty$(suffix $kind)" "$line"
    one "another kind" "inputs/other$(suffix $kind)" "$line"
    [ $kind = run ] && one "an empty folder" inputs/empty "$line"
    if [ $locked = 1 ]; then one "unreadable" "inputs/locked$(suffix $kind)" "$line"
    else echo "skip unreadable: $line (root reads all, and nobody reads nothing here)"; fi
done
