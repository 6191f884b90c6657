#!/usr/bin/env bash
# The table of step times on a GPU, in parts of less than nine minutes each; see docs/gpu.md.
#
#   bench/gpu.sh --list        the parts, in the order in which they are worth doing
#   bench/gpu.sh PART...       one call of each; what is left of a part is done when it is called again
#   bench/gpu.sh               all parts, each until nothing is left of it
#   bench/gpu.sh --dry         all of it on the CPU at tiny shapes, in a few minutes
#
# Results go to bench/results/gpu (--dry: gpu-dry), a JSON file a part. What stands there is not measured again.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

out=bench/results/gpu device=cuda dtype=bfloat16 suffix="" sizes="1 8 32" more="1 8 32"
lengths=(--prompt 256 --length 256) measured=(--steps 16 --repeats 2) blocks=(--block 32) minutes=8 threads=4
caches=(-c none -c prefix -c dual -c entropycache) every=("${caches[@]}") suites=()
if [[ ${1:-} == --dry ]]; then
    shift
    out=bench/results/gpu-dry device=cpu dtype=float32 suffix=-tiny sizes="1 2" more="1" minutes=30 threads=1
    lengths=(--prompt 16 --length 16) measured=(--steps 4 --repeats 1) blocks=(--block 8) caches=(-c none -c dual) every=(-c dual)
    suites=(--benchmark-max-time 0.05 --benchmark-min-rounds 3)
fi
named=(-d llada -d threshold:tau=0.9 -d factor:f=1.0 -d dream:by=entropy -d left_to_right -d s2d2)
shapes=(llada-8b dream-7b sdar-8b)

# products KIND SIZES: the parts of a kind
products() {
    local size shape
    for size in $2; do
        for shape in "${shapes[@]}"; do echo "$shape-b$size$1"; done
    done
}

parts() {
    local shape
    for shape in "${shapes[@]}"; do echo "recordings-$shape"; done
    products "" "$sizes"
    products -graph "$more"
    products -all "$more"
    echo suites
}

# latency SHAPE KIND ARGUMENTS...: the decoders of a kind of part with the caches of a shape
latency() {
    local shape=$1 kind=$2 decoders=("${named[@]}") chosen=("${caches[@]}") own=("${blocks[@]}")
    shift 2
    if [[ $kind == -all ]]; then decoders=(--all --no-peers) chosen=("${every[@]}"); fi
    if [[ $kind == -graph ]]; then decoders+=(--no-peers --graph --poll 4); fi
    if [[ $shape == sdar-8b ]]; then chosen=(-c none -c block) own=(); fi
    decoders bench latency --shape "$shape$suffix" "${decoders[@]}" "${chosen[@]}" "${own[@]}" "${lengths[@]}" "${measured[@]}" \
        --dtype "$dtype" --minutes "$minutes" --threads "$threads" --recordings "$out/recordings.json" "$@"
}

# One call of a part; fails with 75 where something is left of it.
part() {
    local said shape size kind
    echo "== $1"
    case $1 in
    recordings-*)
        said=$(latency "${1#recordings-}" "" --record-only && latency "${1#recordings-}" -all --record-only) || return 1 ;;
    suites) # the file with =, or pytest takes it for a place of tests, and its folder for theirs
        said=$(python -m pytest -q bench/suites --on "$device" "${suites[@]}" --benchmark-columns median,iqr,rounds \
            "--benchmark-json=$out/suites.json") || { echo "$said"; return 1; } ;;
    *-b*)
        shape=${1%%-b[0-9]*} kind=""
        size=${1#"$shape"-b}
        case $size in *-*) kind=-${size#*-} size=${size%%-*} ;; esac
        said=$(latency "$shape" "$kind" --device "$device" --batch "$size" -o "$out/$1.json") || return 1 ;;
    *)
        echo "there is no part $1; --list names them" >&2
        exit 2 ;;
    esac
    echo "$said"
    ! grep -q 'are left; the same command goes on' <<<"$said" || return 75
}

mkdir -p "$out"
if [[ ${1:-} == --list ]]; then
    parts
elif (($#)); then
    for name in "$@"; do part "$name"; done
else
    for name in $(parts); do
        until part "$name"; do (($? == 75)) || exit 1; done
    done
fi
