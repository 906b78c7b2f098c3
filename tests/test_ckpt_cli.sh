#!/bin/sh
# test_ckpt_cli.sh: inspect and convert as a user runs them.
jetcl=${TEST_BUILD:-build}/jetcl
golden=$(dirname "$0")/golden
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export NO_COLOR=1

# try CODE 'stdout has' 'stderr has' arguments...: fixed strings, "" for nothing at all, - for anything; stderr
# one line at most.
try() {
    want=$1 out=$2 err=$3; shift 3
    "$jetcl" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    rc=$?
    has() { case $1 in -) ;; '') [ ! -s "$2" ] ;; *) grep -qF -- "$1" "$2" ;; esac; }
    if [ $rc = "$want" ] && has "$out" "$dir/out" && has "$err" "$dir/err" &&
        [ "$(wc -l <"$dir/err")" -le 2 ]; then
        echo "ok jetcl $*" | sed "s|$dir/||g"
    else
        echo "not ok jetcl $*"; echo "  exit $rc, want $want; stdout: $(head -c 400 "$dir/out")"
        echo "  stderr: $(head -c 400 "$dir/err")"
    fi
}
same() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1"; echo "  got:  $2"; echo "  want: $3"; fi
}

# inspect
try 0 'safetensors, 1.9 kB, 14 tensors of 265 elements' '' inspect "$golden/ckpt_twin.safetensors"
try 0 'meta.epoch: 3' 'left out 1 that is no tensor' inspect "$golden/ckpt_nested.pth"
try 0 'optimizer.state.0.exp_avg  F32     [2]                          0           0           0' - inspect \
    "$golden/ckpt_nested.pth"
try 0 'blocks.1.attn.qkv.weight' '' inspect --model "$golden/ckpt_bigvision.npz"
try 0 '"sha256": "' '' inspect --json "$golden/ckpt_torch.pth"
try 0 '"no_model": "' '' inspect --json "$golden/ckpt_twin.safetensors"
try 3 "" "no averaged (EMA) weights" inspect --ema "$golden/ckpt_bigvision.safetensors"
try 3 '' 'No such file' inspect "$dir/none.pth"
try 3 '' 'a folder with no model.safetensors' inspect "$dir"
try 2 '' 'missing argument' inspect
echo 'no checkpoint at all' >"$dir/junk.pth"
try 3 '' 'junk.pth: not a checkpoint that jetcl can read' inspect "$dir/junk.pth"
printf '\200\000\000\000\000\000\000\200{}' >"$dir/long.safetensors"
try 3 '' 'header of 9223372036854775936 bytes' inspect "$dir/long.safetensors"
head -c 4000 "$golden/ckpt_torch.pth" >"$dir/cut.pth"
try 3 '' 'damaged or truncated archive' inspect "$dir/cut.pth"

# differences
try 0 '14 same, 0 differ' '' inspect --diff "$golden/ckpt_twin.safetensors" "$golden/ckpt_legacy.pth"
try 5 '+ n' 'differ in' inspect --diff "$golden/ckpt_twin.safetensors" "$golden/ckpt_ours.npz"
try 5 '"only_b"' 'differ in' inspect --diff --json "$golden/ckpt_twin.safetensors" "$golden/ckpt_ours.npz"
try 2 '' '--tolerance must be' inspect --diff --tolerance x a b
try 2 '' 'missing argument' inspect --diff a

# convert
try 0 '' ': 14 tensors' convert --raw "$golden/ckpt_twin.safetensors" "$dir/a.pth"
try 0 '' ': 14 tensors' convert --raw "$dir/a.pth" "$dir/b.npz"
try 0 '' ': 14 tensors' convert --raw "$dir/b.npz" "$dir/c.safetensors" --meta arch=vit --meta 'recipe=a: 1'
try 0 'recipe: a: 1' '' inspect "$dir/c.safetensors"
try 0 '14 same, 0 differ' '' inspect --diff "$golden/ckpt_twin.safetensors" "$dir/c.safetensors"
try 3 '' 'no model whose names are known: nearest are timm ViT (0 of 14), ' convert \
    "$golden/ckpt_twin.safetensors" "$dir/no.pth"
try 3 '' "'long', 'double', 'none'" convert "$golden/ckpt_twin.safetensors" "$dir/no.pth"
try 0 '' 'Google JAX ViT' convert "$golden/ckpt_bigvision.npz" "$dir/d.safetensors"
try 0 ' 0 differ' '' inspect --diff "$golden/ckpt_bigvision.safetensors" "$dir/d.safetensors"
try 0 '' 'h.safetensors: 40 tensors; not in them: heads 3' \
    convert "$dir/d.safetensors" "$dir/h.safetensors" --names hf_vit --meta heads=3
try 0 '' 'd.safetensors: timm ViT' convert "$dir/d.safetensors" "$dir/h.safetensors" --names hf_vit
try 0 'vit.encoder.layer.1.attention.attention.key.weight' '' inspect "$dir/h.safetensors"
try 0 '' 'Hugging Face ViT under' convert "$dir/h.safetensors" "$dir/i.npz"
try 0 ' 0 differ' '' inspect --diff "$dir/d.safetensors" "$dir/i.npz"
try 0 '' '' convert -q "$dir/d.safetensors" "$dir/i.npz" --dtype fp16
try 0 'F16' '' inspect "$dir/i.npz"
try 2 '' '--dtype must be' convert "$dir/d.safetensors" "$dir/no.npz" --dtype half
try 2 '' "unknown naming scheme 'hf'" convert "$dir/d.safetensors" "$dir/no.npz" --names hf
try 0 '' - convert --raw "$golden/ckpt_nested.pth" "$dir/e.pth"
try 0 'torch zip, ' '' inspect "$dir/e.pth"
same 'raw keeps every name' "$(grep -c '^state_dict.model\|^optimizer.state' "$dir/out")" 15
try 2 '' 'the suffix must be .safetensors' convert "$golden/ckpt_twin.safetensors" "$dir/a.txt"
try 2 '' '--raw and --names exclude' convert --raw --names hf_vit "$golden/ckpt_twin.safetensors" "$dir/a.npz"
try 2 '' '--raw and --ema exclude' convert --raw --ema "$golden/ckpt_twin.safetensors" "$dir/a.npz"
try 2 '' '--meta must be KEY=VALUE' convert --raw --meta x "$golden/ckpt_twin.safetensors" "$dir/z.npz"
try 1 '' 'cannot write' convert --raw "$golden/ckpt_twin.safetensors" "$dir/no/such/folder.npz"
same 'nothing is left behind' "$(ls "$dir" | tr '\n' ' ')" \
    "$(echo a.pth b.npz c.safetensors cut.pth d.safetensors e.pth err h.safetensors i.npz junk.pth \
            long.safetensors out) "

# values that are not numbers, and numbers that a type cannot hold: nothing is written
size=$(wc -c <"$dir/d.safetensors")
for bytes in '\0\0\300\177' '\0\0\200\177' '\0\0\200\377'; do
    cp "$dir/d.safetensors" "$dir/nan.safetensors"
    printf "$bytes" | dd of="$dir/nan.safetensors" bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
    try 5 '' 'holds a value that is not a number' convert "$dir/nan.safetensors" "$dir/no.npz"
    try 5 '' 'holds a value that is not a number' convert "$dir/nan.safetensors" "$dir/no.npz" --dtype fp16 \
        --names hf_vit
    try 0 '' - convert --raw "$dir/nan.safetensors" "$dir/raw.npz"
    try 0 ' 0 differ' '' inspect --diff "$dir/nan.safetensors" "$dir/raw.npz"
done
cp "$dir/d.safetensors" "$dir/large.safetensors"
# its last value becomes 65536
printf '\0\0\200\107' | dd of="$dir/large.safetensors" bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
try 5 '' 'which is too large for F16' convert "$dir/large.safetensors" "$dir/no.npz" --dtype fp16
try 5 '' 'which is too large for F16' convert --raw "$dir/large.safetensors" "$dir/no.npz" --dtype fp16
try 0 '' - convert "$dir/large.safetensors" "$dir/wide.npz" --dtype bf16
same 'nothing is written for them' "$(ls "$dir"/no.npz* 2>/dev/null)" ''

# every whole file of the fuzzers' corpus: read, or one line and exit code 3
mkdir "$dir/corpus" && tar xf "$(dirname "$0")/fuzz/corpus/archive.tar" -C "$dir/corpus" && bad='' n=0
for f in "$dir"/corpus/*; do
    "$jetcl" inspect -q "$f" >/dev/null 2>"$dir/err" </dev/null
    rc=$? n=$((n + 1))
    case "$rc $(wc -l <"$dir/err")" in '0 0' | '3 1') ;; *) bad="$bad $(basename "$f"):$rc" ;; esac
done
same "inspect ends well on each of $n corpus files" "$bad" ''

# a full disk
cp "$dir/a.pth" "$dir/full.pth"
(ulimit -f 2; "$jetcl" convert --raw "$golden/ckpt_ours.npz" "$dir/full.pth" 2>"$dir/err"; echo $? >"$dir/rc")
same 'a full disk is exit code 1 and one line' "$(cat "$dir/rc") $(wc -l <"$dir/err")" '1 1'
same 'and the old file is intact' "$(cmp "$dir/a.pth" "$dir/full.pth" 2>&1)" ''
