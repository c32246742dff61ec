#!/usr/bin/env bash
# Builds datasets on Slurm: every task of the array takes one recipe, starts Ray on its nodes and builds with it.
#
#   sbatch builder_scripts/slurm_ray.sh recipes.txt /lustre/me/mis                  the first recipe
#   sbatch --array=0-9%4 builder_scripts/slurm_ray.sh recipes.txt /lustre/me/mis    ten recipes, four at a time
#
# recipes.txt names one recipe a line. Each is built into /lustre/me/mis/<its file's name>, with its work beside it; all
# nodes have to see that folder. Nodes, GPUs and time below are for you to change. A task that runs out of time stops
# cleanly and queues itself again; it goes on where it was.
#
#SBATCH --job-name=mis
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=1-00:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=mis-%A_%a.log
# Ten minutes before the end, so that what is in hand can be finished.
#SBATCH --signal=B:INT@600

# Job control: without it, bash has background commands ignore the interrupt that is to stop the build.
set -meuo pipefail

if (($# < 2)); then
    echo "usage: sbatch [--array=0-N] $0 RECIPES.txt FOLDER [options of mis build]" >&2
    exit 2
fi
recipes=$1 folder=$2
shift 2

# Whatever makes `mis` and `ray` known on a node, such as: source /lustre/me/venv/bin/activate

line=$((${SLURM_ARRAY_TASK_ID:-0} + 1))
recipe=$(sed -n "${line}p" "$recipes")
if [[ ! -f $recipe ]]; then
    echo "$recipes, line $line: there is no recipe '$recipe'; one file a line, paths from $PWD" >&2
    exit 2
fi
name=$(basename "$recipe" .toml)

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# A port of its own, for other jobs may share the node.
address=$(getent ahostsv4 "$head" | awk 'NR == 1 { print $1 }'):$((20000 + SLURM_JOB_ID % 20000))
# `--ray-address auto` looks here first.
export RAY_ADDRESS=$address
# Ray runs whatever it is sent: a token of its own keeps others on these machines out. srun hands it to the nodes.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
resources=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats)

steps=()
build=''
is_out_of_time=''
finish() {
    for step in "${steps[@]}"; do kill -TERM "$step" 2> /dev/null || true; done
}
stop() {
    if [[ -z $build ]]; then exit 130; fi
    kill -INT "$build" 2> /dev/null || true
}
trap finish EXIT
trap 'is_out_of_time=yes; stop' INT
trap stop TERM

# Tries a command until it succeeds, five minutes long.
in_time() {
    for _ in {1..60}; do
        if "$@" &> /dev/null; then return; fi
        sleep "${MIS_WAIT_S:-5}"
    done
    return 1
}

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --block --node-ip-address="${address%:*}" --port="${address#*:}" "${resources[@]}" &
steps+=($!)
if ! in_time ray status --address="$address"; then
    echo "Ray did not start on $head ($address)" >&2
    exit 1
fi
if ((${#nodes[@]} > 1)); then
    others=$((${#nodes[@]} - 1))
    srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" \
        ray start --block --address="$address" "${resources[@]}" &
    steps+=($!)
    # A build has as many renderers as there are GPUs when it begins.
    count='import ray, sys; ray.init("auto"); sys.exit(sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]))'
    if ! in_time python -c "$count" "${#nodes[@]}"; then
        echo "not all of ${nodes[*]} joined Ray; the build begins with those that did" >&2
    fi
fi

# The work has to outlive the nodes, so it lies on the shared folder. No two machines may have its ledger open at once;
# the build's lock sees to that, if the folder has locks: Lustre has to be mounted with `flock`.
mis build "$recipe" --out "$folder/$name" --work "$folder/$name.work" --engine ray --ray-address auto --yes "$@" &
build=$!
code=0
wait "$build" || code=$?
# A trap ends `wait` early; the build is still finishing what is in hand.
while kill -0 "$build" 2> /dev/null; do
    code=0
    wait "$build" || code=$?
done
if [[ -n $is_out_of_time && $code -ne 0 ]]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
