#!/bin/sh
# test_install.sh: what make install brings, in a folder of its own: experiments found by name from any folder,
# the manual page, completions; and what make uninstall leaves.
build=${TEST_BUILD:-build}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export XDG_CONFIG_HOME="$dir/config" NO_COLOR=1
unset JETCL_DEVICE JETCL_DATA JETCL_LOG FORCE_COLOR
check() {                                      # NAME COMMAND...: the command must succeed
    name=$1; shift
    if "$@" >"$dir/out" 2>&1; then echo "ok $name"; else echo "not ok $name"; head -n 5 "$dir/out"; fi
}
same() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1"; echo "  got:  $2"; echo "  want: $3"; fi
}
# What is built is not built again: -o.
make_in() {
    env -u MAKEFLAGS -u MAKELEVEL make -s -o "$build/jetcl" B="$build" DESTDIR="$dir/root" prefix=/usr "$@"
}

check 'make install' make_in install
share=$dir/root/usr/share
jetcl=$dir/root/usr/bin/jetcl
for f in bin/jetcl share/man/man1/jetcl.1 share/bash-completion/completions/jetcl \
    share/zsh/site-functions/_jetcl \
         share/fish/vendor_completions.d/jetcl.fish share/jetcl/experiments/tables/demo.yaml; do
    check "installed: $f" test -s "$dir/root/usr/$f"
done
same 'every experiment is installed' "$(cd "$share/jetcl/experiments" && find . -type f | sort)" \
    "$(cd experiments && find . -type f | sort)"

# ---- by name, from any folder ----
mkdir "$dir/cwd"
here=$PWD
cd "$dir/cwd" || exit 1
installed=$(realpath "$share")/jetcl/experiments
found() { "$jetcl" "$@" 2>&1 >"$dir/found" | head -n 1; }
same 'an experiment is found by name, and where is said' "$(found config demo)" "demo: $installed/demo.yaml"
same 'what it takes from earlier runs is looked for in the working folder' \
    "$(sed -n 's/^    experts: //p' "$dir/found")" "$PWD/runs/demo_predecessor/latest/ckpt/last.safetensors"
same 'with its suffix' "$(found config demo.yaml)" "demo.yaml: $installed/demo.yaml"
same 'by the path in the documents' "$(found config experiments/vit-t/dtd/dense.yaml)" \
    "experiments/vit-t/dtd/dense.yaml: $installed/vit-t/dtd/dense.yaml"
same 'a table' "$(found table demo --dry-run)" "demo: $installed/tables/demo.yaml"
check 'its cells are those of the table' grep -q 'runs/demo_dense/seed-1-' "$dir/found"
same 'a path without a name' "$(found config "$installed/demo.yaml")" ''
same 'means the same' "$(sed -n 's/^    experts: //p' "$dir/found")" \
    "$PWD/runs/demo_predecessor/latest/ckpt/last.safetensors"
same 'a name that is nowhere' "$("$jetcl" config dmo 2>&1; echo $?)" \
    'jetcl: config: dmo: No such file or directory
2'
same 'nor above the folder' "$("$jetcl" config ../cwd/demo 2>&1; echo $?)" \
    'jetcl: config: ../cwd/demo: No such file or directory
2'
printf 'name: mine\n' >demo.yaml
same 'a local file comes first' "$(found config demo) $(sed -n 's/^name: //p' "$dir/found")" \
    'demo: demo.yaml mine'
mkdir vit-t
printf 'model: {init: ../x.npz}\n' >vit-t/y.yaml
"$jetcl" config vit-t/y.yaml >"$dir/found"
same 'paths in a local file stay' "$(sed -n 's/^  init: //p' "$dir/found" | head -n 1)" "$PWD/vit-t/../x.npz"
cd "$here" || exit 1

# ---- the manual page ----
page=$share/man/man1/jetcl.1
if command -v mandoc >/dev/null; then
    same 'the manual page is well-formed' "$(mandoc -T lint -W warning "$page")" ''
    mandoc -T ascii "$page" | sed 's/.\x08//g' >"$dir/page"
    missing() { for w in $1; do grep -qF -- "$w" "$dir/page" || echo "$w"; done; }
    commands=$("$jetcl" help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
    same 'it has every command' "$(missing "$commands")" ''
    same 'every key' "$(missing "$("$jetcl" config --markdown | sed -n 's/^| `\([a-z0-9_.]*\)`.*/\1/p')")" ''
    same 'every option' \
        "$(missing "$(for c in $commands; do "$jetcl" help $c; done | grep -o '^ .*  --[a-z-]*' | \
        grep -o -- '--[a-z-]*' | sort -u)")" ''
    same 'every data set' \
        "$(missing "$("$jetcl" data list | sed -n 's/^\([a-z0-9]*\) .*/\1/p' | grep -v '^looked')")" ''
else
    echo 'skip manual page: apt-get install mandoc'
fi

# ---- completions ----
PATH=$dir/root/usr/bin:$PATH
bash_says() {                                   # words before the last one are complete
    bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _jetcl; echo "${COMPREPLY[*]}"' \
        "$share/bash-completion/completions/jetcl" "$@" 2>&1
}
same 'bash: commands' "$(bash_says jetcl rec)" recycle
same 'bash: options of a command' "$(bash_says jetcl table --co)" '--collect --color'
same 'bash: keys' "$(bash_says jetcl run demo --set optim.l)" 'optim.lr= optim.layer_decay='
same 'bash: the short form too' "$(bash_says jetcl run demo -s model.moe.sl)" \
    'model.moe.slots= model.moe.slot_norm='
same 'bash: values of a choice' "$(bash_says jetcl run demo --set recycle.graph = m)" metis
same 'bash: right after the =' "$(bash_says jetcl run demo --set recycle.graph =)" 'metis louvain'
same 'bash: devices' "$(bash_says jetcl run demo -d g)" gpu
same 'bash: data sets' "$(bash_says jetcl data verify ci)" 'cifar10 cifar100'
same 'bash: actions' "$(bash_says jetcl data ve)" verify
same 'bash: experiments' "$(bash_says jetcl run vit-t/dtd/d)" 'vit-t/dtd/dense-21k vit-t/dtd/dense'
same 'bash: tables' "$(bash_says jetcl table table1)" 'table1-convnext-f table1-vit-t'
same 'bash: topics of help' "$(bash_says jetcl help optim.lr)" optim.lr
same 'an unknown shell' "$("$jetcl" help --completion zhs 2>&1)" \
    "jetcl: help: no completion for 'zhs' (did you mean 'zsh'?); there are bash, zsh, fish"
if command -v fish >/dev/null; then
    fish_says() {
        env HOME="$dir" fish --no-config -c 'source $argv[1]; complete -C $argv[2]' \
            "$share/fish/vendor_completions.d/jetcl.fish" "$1" 2>&1 | cut -f 1 | tr '\n' ' ' | sed 's/ $//'
    }
    same 'fish: commands' "$(fish_says 'jetcl rec')" recycle
    same 'fish: options' "$(fish_says 'jetcl table --col')" '--collect --color'
    same 'fish: keys and values' "$(fish_says 'jetcl run x --set recycle.graph')" \
        'recycle.graph= recycle.graph=louvain recycle.graph=metis'
    same 'fish: tables' "$(fish_says 'jetcl table table1')" 'table1-convnext-f table1-vit-t'
else
    echo 'skip completions of fish: apt-get install fish'
fi
if command -v zsh >/dev/null; then              # with stand-ins for what only a line editor has
    zsh_says() {
        zsh -fc 'compadd() { print -r -- "compadd $*"; }; _files() { print files; }
                 compset() { [[ $words[CURRENT] == *=* ]] && IPREFIX=${words[CURRENT]%%=*}=; }
                 _describe() { print -rl -- ${(P)4}; }; _arguments() { print -rl -- "$@"; }
                 file=$1; shift; words=("$@"); CURRENT=$#; . $file' zsh "$share/zsh/site-functions/_jetcl" \
                     "$@" 2>&1
    }
    same 'zsh: commands' "$(zsh_says jetcl re | grep '^tune:')" \
        "tune:$("$jetcl" help | sed -n 's/^  tune  *//p')"
    check 'zsh: options' sh -c 'printf "%s\n" "$1" | grep -qF -- "--csv["' sh "$(zsh_says jetcl table --c)"
    check 'zsh: keys' sh -c 'printf "%s\n" "$1" | grep -qF -- "KEY=VALUE:_jetcl_set"' sh \
        "$(zsh_says jetcl run -)"
    zsh_set() {
        zsh -fc 'compadd() { shift; print -r -- "$*"; }; compset() { [[ $w == *=* ]] && IPREFIX=${w%%=*}=
    }
                         _describe() { :; }; words=(jetcl r); CURRENT=2; . $1; w=$2; _jetcl_set' zsh \
                    "$share/zsh/site-functions/_jetcl" "$1" 2>&1; }
    same 'zsh: values of a choice' "$(zsh_set recycle.graph=)" 'metis louvain'
else
    echo 'skip completions of zsh: apt-get install zsh'
fi

check 'make uninstall' make_in uninstall
same 'nothing is left' "$(find "$dir/root" -type f)" ''
