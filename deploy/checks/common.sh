# What the checks of this folder share: a service with a small program, in a folder that goes away
# at the end. FHEC names the program `fhec`; else it is that of the development build.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
fhec=${FHEC:-$root/target/debug/fhec}
place=$(mktemp -d)
started=()

finish() {
    local status=$?
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$place"
    exit $status
}
trap finish EXIT

# A check that cannot be made here says so, and is not a failure.
skip() {
    echo "skipped: $1"
    exit 0
}

fail() {
    echo "failed: $1" >&2
    exit 1
}

# Waits up to 20 s until a command succeeds.
until_it() {
    local i
    for i in $(seq 200); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    fail "this does not succeed: $*"
}

[[ -x "$fhec" ]] || skip "there is no $fhec: cargo build -p fhec-cli, or set FHEC"

# The program `mnist`, and the tokens of a client and of an operator.
prepare() {
    mkdir "$place/models"
    "$fhec" compile "$root/models/mnist_cnn_deg3.onnx" -o "$place/mnist.fhec" >/dev/null
    "$fhec" server "$place/mnist.fhec" -o "$place/models/mnist.server.fhec" >/dev/null
    "$fhec" serve token alice --tokens "$place/tokens" >"$place/alice.token"
    "$fhec" serve token watcher --operator --tokens "$place/tokens" >"$place/watcher.token"
}

# Starts the service with these options; `address` is where it listens. Another one beside it has
# another `state`.
serve() {
    local name=${state:-state} listen=(--listen 127.0.0.1:0)
    [[ " $* " == *" --listen "* ]] && listen=()
    "$fhec" serve "$place/models" --tokens "$place/tokens" --state "$place/$name" "${listen[@]}" "$@" \
        >"$place/$name.out" 2>"$place/$name.err" &
    started+=($!)
    until_it grep -q 'serving .* at ' "$place/$name.out"
    address=$(sed 's/.* at //' "$place/$name.out")
}

# A port that nothing listens at.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
