#!/bin/sh
# test_cluster.sh: experiments/cluster with stubs for srun, scontrol, ssh and mpirun, which tell what they are
# asked.
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
ok() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2"; sed 's/^/   /' calls; fi; }
mkdir bin
# Each call of srun or mpirun ends with the next code of the file `codes`.
for name in srun mpirun; do
    printf '#!/bin/sh\necho "%s $*" >>calls\ncode=$(sed -n 1p codes); sed -i 1d codes; exit "${code:-0}"\n' \
        $name >bin/$name
done
printf '#!/bin/sh\necho "scontrol $*" >>calls\n' >bin/scontrol
printf '%s\n' '#!/bin/sh' 'while [ $# -gt 1 ]; do case $1 in -o) shift 2 ;; *) break ;; esac; done' \
    '! grep -qx "$1" gone' >bin/ssh
printf '#!/bin/sh\n' >bin/sleep
chmod +x bin/*
export PATH="$dir/bin:$PATH" SLURM_JOB_ID=77
case_of() { # case_of CODES GONE script arguments...
    echo "$1" | tr ' ' '\n' >codes; echo "$2" | tr ' ' '\n' >gone; : >calls; script=$3; shift 3
    sh "$here/experiments/cluster/$script" "$@" >out 2>&1
    code=$?
}
called() { printf '%s\n' "$@" | cmp -s - calls; }

run='run exp.yaml --out runs/exp --resume --set device=gpu:* --set seed=2'
case_of 0 none slurm.sh exp.yaml runs/exp --set seed=2
[ $code = 0 ] && called "srun --kill-on-bad-exit=1 jetcl $run"; ok $? "slurm: a run to its end"
case_of 75 none slurm.sh exp.yaml runs/exp --set seed=2
[ $code = 0 ] && called "srun --kill-on-bad-exit=1 jetcl $run" "scontrol requeue 77"
ok $? "slurm: saved at the time limit, it queues itself again"
for want in 1 2 3 4 5 143; do
    case_of $want none slurm.sh exp.yaml runs/exp --set seed=2
    [ $code = $want ] && [ "$(wc -l <calls)" = 1 ]; ok $? "slurm: exit code $want is kept, and nothing queued"
done

hosts='n1:2 n2:2 n3:1'
args='--bind-to none jetcl run exp.yaml --out runs/exp --resume --set device=gpu:*'
case_of 0 none ssh.sh "$hosts" exp.yaml runs/exp
[ $code = 0 ] && grep -qF "mpirun -n 5 --host n1:2,n2:2,n3:1 $args" calls && [ "$(wc -l <calls)" = 1 ]
ok $? "ssh: a rank for each slot"
case_of 0 n2 ssh.sh "$hosts" exp.yaml runs/exp
[ $code = 0 ] && grep -qF "mpirun -n 3 --host n1:2,n3:1 $args" calls && grep -q 'n2 is gone' out
ok $? "ssh: without a machine that is gone"
case_of '137 1 0' none ssh.sh "$hosts" exp.yaml runs/exp
[ $code = 0 ] && [ "$(grep -c mpirun calls)" = 3 ]; ok $? "ssh: a lost rank begins again"
for want in 2 3 4 5 75 130 143; do
    case_of $want none ssh.sh "$hosts" exp.yaml runs/exp
    [ $code = $want ] && [ "$(grep -c mpirun calls)" = 1 ]; ok $? "ssh: exit code $want ends it"
done
case_of 0 'n1 n2 n3' ssh.sh "$hosts" exp.yaml runs/exp
[ $code = 1 ] && [ ! -s calls ] && grep -q 'no machine answers' out; ok $? "ssh: no machine at all"
