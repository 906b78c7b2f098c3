#!/bin/sh
# test_analyse.sh: analyse as a user calls it: files for a recycled run, for a dense one, for photos without
# labels, for several runs; and a line for what cannot be.
. "$(dirname "$0")/pictures.sh"
jetcl=${TEST_BUILD:-build}/jetcl
case $jetcl in /*) ;; *) jetcl=$PWD/$jetcl ;; esac
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export XDG_CONFIG_HOME="$dir/config" JETCL_CACHE_DIR="$dir/cache" NO_COLOR=1 JETCL_DEVICE=cpu
unset JETCL_DATA JETCL_LOG FORCE_COLOR
cd "$dir" || exit 1

# try NAME CODE 'output has' arguments...: a fixed string of stdout or stderr.
try() {
    name=$1 want=$2 has=$3; shift 3
    "$jetcl" "$@" >out 2>&1 </dev/null
    rc=$?
    if [ $rc = "$want" ] && grep -qF -- "$has" out; then
        echo "ok $name"
    else
        echo "not ok $name"
        echo "  jetcl $*: exit $rc, want $want: $(tail -c 600 out)"
    fi
}
same() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1"; echo "  got:  $2"; echo "  want: $3"; fi
}
for split in train test; do
    for i in 000 020 040 060; do
        bmp photos/$split/ape/$i.bmp 377 $i $i
        bmp photos/$split/bee/$i.bmp $i 377 $i
    done
done
cat >dense.yaml <<'END'
data: {set: folder, root: photos}
model: {arch: vit, image: 16, patch: 8, dim: 16, depth: 2, heads: 2, drop_path: off}
train: {epochs: 4, batch: 8}
optim: {lr: 3e-3, layer_decay: off}
schedule: {warmup_epochs: off}
augment: {randaugment: off, mixup: off, cutmix: off, erasing: off, scale_min: 1}
eval: {every: 2}
keep: {every: 2, last: 9}
END
cat >moe.yaml <<'END'
base: dense.yaml
model: {dim: 8, moe: {layers: [1], core: 2, universal: 4}}
recycle: {from: {experts: dense/ckpt/last.safetensors, heads: 2}, images: 8, batch: 8}
END
try "train a dense model" 0 "top-1" run dense.yaml --out dense
try "recycle it" 0 "top-1" run moe.yaml --out moe
try "an analysis of experts" 0 "blocks.1             universal       4" analyse moe --images 8 --each
for f in analysis.json experts.csv contributions.csv load.svg contributions.svg moved.svg confusion.csv \
    confusion.png \
         layer-01-dispatch.png layer-01-combine.png attention.png convergence.json convergence.svg; do
    [ -s "moe/analysis/$f" ] || missing="$missing $f"
done
same "its files are there" "$missing" ""
same "a row for every expert" "$(grep -c '^1,' moe/analysis/experts.csv)" 6
same "a row for both groups" "$(grep -c '^1,' moe/analysis/contributions.csv)" 2
# Its own weights, the checkpoints of epochs 2 and 4: the last is the model itself.
same "the way from the recycled experts" \
    "$(grep -c '"checkpoint": "moe/ckpt/epoch_' moe/analysis/analysis.json)" 2
cp moe/analysis/analysis.json first.json
"$jetcl" analyse moe --images 8 --each --out again -q >/dev/null
same "twice the same numbers" "$(cmp first.json again/analysis.json 2>&1)" ""
try "a dense model has attention maps" 0 "8 images, top-1" analyse dense --out d
same "and no experts" "$(ls d | tr '\n' ' ')" \
     "$(echo analysis.json attention.png confusion.csv confusion.png convergence-hours.svg convergence.csv \
            convergence.json convergence.svg) "
try "photos without labels" 0 "4 images" analyse moe --images photos/test/ape --out p
same "say nothing of accuracy" "$(grep -c '"lost": null' p/analysis.json)" 2
try "runs beside each other" 0 "epochs, hours" analyse dense moe --at 40,50 --out c
try "a target that is not a number" 2 "--at must be" analyse dense moe --at forty
try "no images" 2 "--images must be" analyse moe --images 0
try "not a model" 3 "photos" analyse photos
try "a run without a log" 3 "metrics.jsonl" analyse moe photos
