#!/bin/sh
# slurm.sh: an experiment on several GPUs or nodes under Slurm; stopped by the time limit it saves and queues
# itself again, with as many ranks as there are then.
#
#     sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 experiments/cluster/slurm.sh exp.yaml runs/exp
#
#SBATCH --job-name=jetcl
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@90
#SBATCH --requeue
#SBATCH --open-mode=append
exp=${1:?usage: sbatch slurm.sh EXP.yaml DIR [options]} dir=${2:?usage: sbatch slurm.sh EXP.yaml DIR [options]}
shift 2
# --resume starts anew where nothing was saved. --signal without B: goes to the ranks themselves.
srun --kill-on-bad-exit=1 jetcl run "$exp" --out "$dir" --resume --set 'device=gpu:*' "$@"
code=$?
[ $code = 75 ] && exec scontrol requeue "$SLURM_JOB_ID"
exit $code
