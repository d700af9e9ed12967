#!/bin/sh
# Environments of the frameworks that peers.py and ops.py measure nbcnn against.
#
#     sh bench/setup_peers.sh [FOLDER] [PEER ...]     FOLDER: bench/.peers; PEER: torch tf jax nb
#
# Needs Python 3.10 to 3.13 (PYTHON=python3.12 chooses one) and pip; downloads about 1.5 GB in all.
# A second run changes nothing. Then: FOLDER/nb/bin/python bench/peers.py --peers FOLDER
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/bench/.peers}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- torch tf jax nb
python=${PYTHON:-python3}

torch_index=https://download.pytorch.org/whl/cpu  # wheels without CUDA

install() { # name, arguments of pip...
    name=$1
    shift
    env=$folder/$name
    if [ ! -x "$env/bin/python" ]; then
        "$python" -m venv "$env" || "$python" -m venv --without-pip --system-site-packages "$env"
    fi
    echo "$name: pip install $*"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

mkdir -p "$folder"
for peer; do
    case $peer in
    torch)
        install torch --index-url "$torch_index" torch==2.13.0 ||
            install torch torch==2.13.0  # no CPU build for this platform there: the one of PyPI
        install torch numpy onnx onnxruntime setuptools keras
        ;;
    tf) install tf keras tensorflow-cpu ;;
    jax) install jax keras jax ;;
    nb) install nb -e "$root[bench]" ;;
    *)
        echo "setup_peers.sh: no peer $peer; there are torch tf jax nb" >&2
        exit 2
        ;;
    esac
done
