# run_help.sh: for scripts that run the program in a folder of their own, build/test_NAME, and look at what it
# leaves. They are skipped without an OpenCL device, unless needs=nothing.
build=${TEST_BUILD:-build}
here=$(cd "$(dirname "$0")/.." && pwd)
case $build in /*) ;; *) build=$here/$build ;; esac
jetcl=$build/jetcl
. "$here/tests/pictures.sh"
name=$(basename "$0" .sh)
dir=$build/$name
rm -rf "$dir" && mkdir -p "$dir" && cd "$dir" || exit 1

[ "${needs:-device}" = nothing ] || "$jetcl" devices --json 2>/dev/null | grep -q '"name"' ||
    { echo "skip ${name#test_} no OpenCL device"; exit 0; }

ok()  { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2"; [ -n "${3:-}" ] && echo "   $3"; fi; }
has() { case $1 in *"$2"*) return 0 ;; esac; return 1; }
try() { # try NAME CODE 'stderr or stdout has' arguments...
    name=$1 want=$2 text=$3; shift 3
    out=$("$jetcl" "$@" 2>&1 </dev/null); code=$?
    [ $code = "$want" ] && has "$out" "$text"; ok $? "$name" "exit $code, expected $want and '$text': $out"
}
# Everything in a folder but the lock: names, times, contents.
state() { (cd "$1" && find . -type f ! -name 'lock*' -printf '%p %T@ ' -exec sha256sum {} \; | sort); }
untouched() { # untouched FOLDER NAME CODE TEXT arguments...: refused, and the folder is as it was
    folder=$1; shift
    before=$(state "$folder")
    try "$@"
    [ "$before" = "$(state "$folder")" ]; ok $? "$1: nothing was touched"
}
# Ranks on one core each; the rest of the script is skipped where there can be none. From then on `try` takes a
# whole command.
with_ranks() {
    launcher=$(sed -n 's/.*-DMPIRUN=[^"]*"\([^"]*\)".*/\1/p' "$here/config.mak")
    launcher=$(command -v "${launcher:-no MPI}") ||
        { echo "skip ${name#test_} no MPI, or no mpirun of it (./configure names the packages)"; exit 0; }
    # As mpirun, whatever it is called; through a link MPICH's would not find its other half.
    mkdir -p bin && printf '#!/bin/sh\nexec %s "$@"\n' "$launcher" >bin/mpirun && chmod +x bin/mpirun
    export PATH="$dir/bin:$PATH"
    export POCL_MAX_PTHREAD_COUNT=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    try() { # try NAME CODE 'output has' command...
        name=$1 want=$2 text=$3; shift 3
        out=$(timed "$@" 2>&1 </dev/null); code=$?
        [ $code = "$want" ] && has "$out" "$text"; ok $? "$name" "exit $code, expected $want and '$text': $out"
    }
}
timed() { timeout 600 "$@"; }
rank() { for p in $(pgrep -f -- "--out $1 "); do  # rank NAME R: the process of rank R of the job --out NAME
    tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -Eqx "(OMPI_COMM_WORLD|PMI)_RANK=$2" && echo "$p"
    done | tail -n 1; }                           # with MPICH its parent, which waits for it, is before it
# drawn_sets WORKERS DEPTH LAST: exp.yaml, two epochs on the demo's images, the last LAST kept.
drawn_sets() {
    cat >exp.yaml <<END
name: small
data: {set: demo, root: $dir/data, train: a/train, eval: a/test, workers: $1}
model: {arch: vit, image: 32, patch: 16, dim: 16, depth: $2, heads: 2, drop_path: off}
train: {epochs: 2, batch: 256}
optim: {lr: 1e-3, layer_decay: off}
augment: {randaugment: off, erasing: off, mixup: off, cutmix: off}
eval: {every: 1}
schedule: {warmup_epochs: 1}
keep: {every: 1, last: $3}
END
}
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }     # as the user nobody
# experts_and_table BASE: moe.yaml, BASE with experts cut from run/, and table.yaml, of BASE alone
experts_and_table() {
    cat >moe.yaml <<END
base: $1
model: {moe: {layers: [1], core: 2, universal: 2}}
recycle: {from: {experts: run/ckpt/last.safetensors}, images: 8, batch: 4, compare: off}
END
    echo "{columns: [top-1], rows: [{name: A, cells: [$1]}]}" >table.yaml
}
three_classes() { # three_classes FOLDER: photos of three colours, and small.yaml, which learns them
    for split in train test; do
        for i in 000 020 040 060; do
            bmp "$1/photos/$split/ape/$i.bmp" 377 $i $i
            bmp "$1/photos/$split/bee/$i.bmp" $i 377 $i
            bmp "$1/photos/$split/cat/$i.bmp" $i $i 377
        done
    done
    cat >"$1/small.yaml" <<'END'
name: small
data: {set: folder, root: photos, train: train, eval: test, workers: 1}
model: {arch: vit, image: 16, patch: 8, dim: 32, depth: 2, heads: 2, drop_path: off}
train: {epochs: 12, batch: 6}
optim: {lr: 3e-3, layer_decay: off}
schedule: {warmup_epochs: off}
augment: {randaugment: off, mixup: off, cutmix: off, erasing: off, scale_min: 1, flip: off}
eval: {every: off}
END
}
