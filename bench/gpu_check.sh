#!/bin/sh
# All that a machine with a GPU is needed for, in under nine minutes.
#
#     sh bench/gpu_check.sh [--simulate] [FOLDER]        FOLDER: bench/results/gpu
#
# PYTHON=...        the interpreter (python3); it has numba-cuda, pytest and hypothesis, or a folder
#                   wheels/ in the repository's root has them: then an environment is made from these
#                   alone, without network, that sees what the interpreter has (PyTorch).
# TORCH=...         an interpreter that has PyTorch with CUDA (PYTHON)
# BUDGET=...        seconds for all parts together (525)
# --simulate        the same parts, tiny, on Numba's simulated GPU: a rehearsal
#
# Parts run in order of importance, each with a limit; one that fails does not stop the next. FOLDER gets
# a log of each, JSON files, parts.json and a short table, table.md. Ends with 1 if a part failed.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
simulate=no
if [ "${1:-}" = --simulate ]; then
    simulate=yes
    shift
fi
folder=${1:-$root/bench/results/gpu}
mkdir -p "$folder" || exit 2
folder=$(cd "$folder" && pwd)
python=${PYTHON:-python3}
began=$(date +%s)
budget=${BUDGET:-525}
failed=0
cd "$folder" && rm -f parts.tsv parts.json devices.json peers_cuda.json table.md  # of an earlier run
cd "$root" || exit 2
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

note() { # name, result, seconds
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$folder/parts.tsv"
    echo "$1: $2 ($3 s)"
}

part() { # name, limit in seconds, command...
    name=$1 limit=$2
    shift 2
    start=$(date +%s)
    left=$((budget - start + began))
    [ "$limit" -le "$left" ] || limit=$left
    if [ "$limit" -lt 5 ]; then
        note "$name" "left out: time is up" 0
        return
    fi
    timeout -k 5 "$limit" "$@" >"$folder/$name.log" 2>&1
    code=$?
    case $code in
    0)
        result=passed
        [ "$name" != tests ] || result="passed: $(tail -n 1 "$folder/$name.log")"
        ;;
    124 | 137) result="stopped after $limit s" ;;
    *) result="failed ($code): $(tail -n 1 "$folder/$name.log" | cut -c 1-160 | tr '\t' ' ')" ;;
    esac
    [ $code -eq 0 ] || failed=1
    note "$name" "$result" $(($(date +%s) - start))
}

setup() {
    wheels=$root/wheels
    [ -d "$wheels" ] || return 0
    env=${TMPDIR:-/tmp}/nbcnn-gpu-check-$(id -u)
    cuda=cu12
    ls "$wheels"/cuda_bindings-13* >/dev/null 2>&1 && cuda=cu13
    "$python" -m venv --system-site-packages "$env" >"$folder/setup.log" 2>&1 &&
        "$env/bin/python" -m pip install --no-index --find-links "$wheels" \
            numba numpy scipy tqdm pytest hypothesis "numba-cuda[$cuda]" >>"$folder/setup.log" 2>&1
    code=$?
    if [ $code -ne 0 ]; then
        failed=1
        note setup "failed: $(tail -n 1 "$folder/setup.log" | cut -c 1-160)" 0
        return
    fi
    python=$env/bin/python
}

sanitizer() { # the path of compute-sanitizer, if there is one
    command -v compute-sanitizer && return
    for found in /usr/local/cuda*/bin/compute-sanitizer /opt/cuda/bin/compute-sanitizer; do
        [ -x "$found" ] && echo "$found" && return
    done
}

device='
import nbcnn
for found in nbcnn.devices():
    print(repr(found))
print(nbcnn.get_device("cuda").name, nbcnn.get_device("cuda").caps)
'

setup
torch=${TORCH:-$python}
if [ $simulate = yes ]; then
    export NUMBA_ENABLE_CUDASIM=1
    part device 120 "$python" -c "$device"
    part tests 400 "$python" -m pytest -q -m gpu -k "moves_between" tests/test_gpu.py
    part devices 400 "$python" bench/devices.py --tiny --models none --layers forward \
        --json "$folder/devices.json"
    part peers 400 "$python" bench/peers_cuda.py --rehearse --torch "$torch" --models none \
        --precisions float32 --sweep forward --json "$folder/peers_cuda.json"
else
    part device 60 "$python" -c "$device"
    part tests 210 "$python" -m pytest -q -m gpu tests/test_gpu.py tests/test_cuda*.py
    part devices 100 "$python" bench/devices.py --models vgg,resnet20,lenet5 --seconds 0.1 \
        --limit 75 --json "$folder/devices.json"
    part peers 130 "$python" bench/peers_cuda.py --torch "$torch" --models vgg,resnet20 \
        --engines nbcnn,channels_last,graph --what train,predict --rounds 3 --seconds 0.02 \
        --limit 90 --json "$folder/peers_cuda.json"
    found=$(sanitizer)
    for tool in memcheck racecheck synccheck; do
        if [ -z "$found" ]; then
            note "$tool" "left out: no compute-sanitizer here" 0
            continue
        fi
        PYTHONPATH="$PYTHONPATH:$root/tests" part "$tool" 60 "$found" --tool "$tool" \
            --error-exitcode 9 "$python" -m cuda_cases.run 7 60
    done
fi

"$python" - "$folder" "$simulate" <<'END' >"$folder/table.md"
import json
import sys
from pathlib import Path

folder, simulate = Path(sys.argv[1]), sys.argv[2] == "yes"
rows = [line.split("\t") for line in (folder / "parts.tsv").read_text().splitlines()]
parts = [{"part": p, "result": r, "seconds": int(s)} for p, r, s in rows]
(folder / "parts.json").write_text(json.dumps({"simulated": simulate, "parts": parts}, indent=1))
if simulate:
    print("A rehearsal on a simulated GPU: the figures mean nothing.\n")
print("| part | result | s |\n| --- | --- | ---: |")
for part in parts:
    print("| {part} | {result} | {seconds} |".format(**part))
sys.path.insert(0, "bench")
import tables

for name in ("devices", "peers_cuda"):
    file = folder / f"{name}.json"
    if file.exists():
        print("\n" + tables.TABLES[name](json.loads(file.read_text())))
END
rm -f "$folder/parts.tsv"
cat "$folder/table.md"
exit $failed
