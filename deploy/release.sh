#!/usr/bin/env bash
# Makes what a release consists of, from the commit that is checked out, and tries each part:
#
#   deploy/release.sh [PART...]      into target/dist; all parts if none is named
#
#   crates   packages for crates.io, each built from what it holds
#   wheel    the wheel and the source package for Python; the wheel answers a picture in an empty
#            environment of every Python from 3.10 on that is found here
#   debian   the package for Debian
#   npm      the package for browsers
#
# Nothing is published. A tree with changes that are not committed is refused: it has no name.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -n $(git status --porcelain) ]]; then
    echo "there are changes that are not committed: commit them first" >&2
    exit 1
fi
export FHEC_COMMIT=${FHEC_COMMIT:-$(git rev-parse --short=12 HEAD)}
made=$PWD/target/dist
mkdir -p "$made"

part_crates() {
    cargo package --workspace --exclude fhec-python --exclude fhec-web --exclude fhec-tests --exclude fhec-test-data
    rm -f "$made"/*.crate
    cp target/package/fhec*.crate "$made"
}

# Pythons that the wheel is for: one of each version.
pythons() {
    local minor path
    for minor in 10 11 12 13 14; do
        for path in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
            "$path" -c 'import venv' 2>/dev/null && { echo "$path"; break; }
        done
    done
}

part_wheel() {
    local tools=target/release-venv path place
    [[ -x $tools/bin/python ]] || python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check maturin==1.16.0 ziglang==0.17.1
    rm -f "$made"/*.whl "$made"/fhec-*.tar.gz
    # Maturin looks for Zig on the path, or in its own environment.
    (
        export PATH="$PWD/$tools/bin:$PATH"
        cd python
        maturin build --release --zig --compatibility manylinux2014 --out "$made"
        maturin sdist --out "$made"
    )
    for path in $(pythons); do
        place=$(mktemp -d)
        "$path" -m venv "$place/venv"
        "$place/venv/bin/pip" install --quiet --disable-pip-version-check "$made"/fhec-*.whl
        "$place/venv/bin/fhec" --version
        # Not from the sources: it is what is installed that answers.
        cp models/mnist_cnn_deg3.{onnx,toml,calibration.json} models/digits/digit_7_a.png "$place"
        (cd "$place" && venv/bin/python - <<'END'
import sys, time
import fhec
begin = time.time()
answer = fhec.compile("mnist_cnn_deg3.onnx").run("digit_7_a.png")
assert answer.argmax() == 7, answer
print(f"Python {sys.version.split()[0]}: a first encrypted answer after {time.time() - begin:.1f} s")
END
        )
        rm -rf "$place"
    done
}

part_debian() {
    deploy/debian.sh
    rm -f "$made"/*.deb
    cp target/debian/*.deb "$made"
}

part_npm() {
    web/build.sh
    rm -f "$made"/*.tgz
    (cd web/npm && npm pack --pack-destination "$made")
}

[[ $# -gt 0 ]] || set -- crates wheel debian npm
for part; do
    declare -F "part_$part" >/dev/null || { echo "no part is called $part" >&2; exit 2; }
done
for part; do
    echo "== $part"
    "part_$part"
done
ls -l "$made"
