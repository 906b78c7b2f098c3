#!/bin/sh
# ssh.sh: an experiment on machines that ssh reaches, a rank for each slot; begun again with the machines that
# still answer when one is lost.
#
#     experiments/cluster/ssh.sh "node1:2 node2:2 node3:1" exp.yaml runs/exp     # HOST:DEVICES; rank 0 on the
# first
#
# Program and data lie under the same paths everywhere; the run folder only on the first machine.
hosts=${1:?usage: ssh.sh "HOST:N ..." EXP.yaml DIR [options]}; exp=${2:?no experiment} dir=${3:?no folder}
shift 3
# mpirun waits two hours for a machine whose link is cut, unless TCP asks sooner.
export OMPI_MCA_oob_tcp_keepalive_time=20 OMPI_MCA_oob_tcp_keepalive_intvl=5 OMPI_MCA_oob_tcp_keepalive_probes=2
while :; do
    list= n=0
    for h in $hosts; do
        ssh -o BatchMode=yes -o ConnectTimeout=5 "${h%:*}" true </dev/null ||
            { echo "ssh.sh: ${h%:*} is gone" >&2; continue; }
        list=$list${list:+,}$h n=$((n + ${h#*:}))
    done
    [ $n -gt 0 ] || { echo "ssh.sh: no machine answers" >&2; exit 1; }
    mpirun -n $n --host "$list" --bind-to none jetcl run "$exp" --out "$dir" --resume --set 'device=gpu:*' "$@"
    code=$?
    case $code in 0|2|3|4|5|75|130|143) exit $code ;; esac       # anything else: a rank was lost
    [ "$((tries = ${tries:-0} + 1))" -lt 20 ] || exit $code
    sleep 10
done
