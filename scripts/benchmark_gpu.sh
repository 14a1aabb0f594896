#!/usr/bin/env bash
# Measures perl on one GPU of 80 GB in at most twelve minutes, in the order of what matters
# most, and writes a JSON row for each part to a folder, with all rows in rows.jsonl.
#
#     scripts/benchmark_gpu.sh [FOLDER]                      # benchmark_gpu
#     PARTS="ceiling ppo" scripts/benchmark_gpu.sh [FOLDER]  # these parts alone
#     SCALE=tiny scripts/benchmark_gpu.sh [FOLDER]           # tiny shapes, for a CPU
#
# Each part has a time limit of its own. Where one fails, the script says so, goes on, and
# ends with status 1. PYTHON names the interpreter (python3); it needs what setup.py lists,
# with JAX for the GPU, and for the last two parts PyTorch, PEFT and transformers. The parts
# reward_remat and profile run where PARTS names them, and the first also where reward fails.
set -u
cd "$(dirname "$0")/.." || exit 1
folder=${1:-benchmark_gpu}
python=${PYTHON:-python3}
mkdir -p "$folder" || exit 1
failed=()

# JAX takes the GPU whole; Triton's products take minutes to tune and are slower in XLA 0.11
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.95}
export XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_enable_triton_gemm=false"

case ${SCALE:-full} in
  full)
    eight="--d=4096 --layers=32 --heads=32 --kv_heads=8 --ff=14336 --vocab=128256 --dtype=bfloat16"
    one="--d=2048 --layers=16 --heads=32 --kv_heads=8 --ff=8192 --vocab=128256 --dtype=bfloat16"
    long="--seq=4096 --pairs=1 --steps=6 --warmup=2"
    shared="--seq=512 --shared=384 --pairs=12 --steps=6 --warmup=2"
    sampled="--prompt=256 --new=128 --calls=3 --warmup=1"
    few=64 many=256
    ppo="--prompt=256 --response=256 --batch=64 --minibatches=4 --epochs=1 --iters=3"
    compared="--seq=1024 --pairs=8 --steps=6 --warmup=2"
    ;;
  tiny)
    eight="--d=16 --layers=2 --heads=2 --kv_heads=1 --ff=24 --vocab=64"
    one=$eight
    long="--seq=16 --pairs=1 --steps=1 --warmup=1"
    shared="--seq=16 --shared=8 --pairs=2 --steps=1 --warmup=1"
    sampled="--prompt=8 --new=4 --calls=1 --warmup=1"
    few=2 many=4
    ppo="--prompt=8 --response=4 --batch=4 --minibatches=2 --epochs=1 --iters=1"
    compared=$long
    ;;
  *)
    echo "SCALE=$SCALE: it is full or tiny" >&2
    exit 2
    ;;
esac

named() { [[ " ${PARTS:-} " == *" $1 "* ]]; }

# part NAME SECONDS COMMAND...: the last line that the command prints is the row
part() {
  local name=$1 limit=$2 began=$SECONDS status
  shift 2
  [[ -z ${PARTS:-} ]] || named "$name" || return 0
  timeout -k 5 "$limit" "$@" >"$folder/$name.out" 2>"$folder/$name.log"
  status=$?
  if ((status == 0)) && tail -n 1 "$folder/$name.out" | grep '^{.*}$' >"$folder/$name.json"; then
    echo "$name: $((SECONDS - began)) s: $(cat "$folder/$name.json")"
    return 0
  fi
  rm -f "$folder/$name.json"
  failed+=("$name")
  echo "$name: failed after $((SECONDS - began)) s with status $status (124: its $limit s were over); $folder/$name.log ends:"
  tail -n 3 "$folder/$name.log"
  return 1
}

ours() { # NAME SECONDS WORKLOAD FLAGS...
  local name=$1 limit=$2 workload=$3
  shift 3
  part "$name" "$limit" "$python" scripts/benchmark.py --workload="$workload" --scan "$@"
}

peft() { # NAME SECONDS WORKLOAD FLAGS...
  local name=$1 limit=$2 workload=$3
  shift 3
  part "$name" "$limit" "$python" scripts/benchmarks/peft_gpu.py --workload="$workload" "$@"
}

# the lists of flags are split into words
# shellcheck disable=SC2086
{
  ours ceiling 30 ceiling $eight
  # one pair of 4,096 tokens: nothing is computed again, if the memory is enough
  ours reward 85 reward $eight $long || PARTS=reward_remat ours reward_remat 75 reward $eight $long --remat
  ours shared 75 reward $eight $shared
  ours decode 60 generate $eight $sampled --batch=$few
  ours decode_many 55 generate $eight $sampled --batch=$many
  ours decode_base 50 generate $eight $sampled --batch=$few --rank=0
  ours ppo 140 policy $eight $ppo --remat
  ours lora 40 reward $one $compared --remat
  ours full 40 reward $one $compared --remat --tuning=full
  peft peft_reward 35 reward $eight $long --remat
  peft peft_decode 35 generate $eight $sampled --batch=$few
  # minutes more, by name alone
  if named reward_remat; then ours reward_remat 75 reward $eight $long --remat; fi
  if named profile; then ours profile 90 reward $eight $long --profile; fi
}

for row in "$folder"/*.json; do
  [[ -e $row ]] && sed "s/^{/{\"part\": \"$(basename "$row" .json)\", /" "$row"
done >"$folder/rows.jsonl"

if ((${#failed[@]})); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
