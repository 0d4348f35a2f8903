#!/usr/bin/env bash
# Builds the npm package (web/npm) and the page (web/dist).
#
# What is not there (the target wasm32-unknown-unknown, node, npm) is told by a line that begins
# with "skipped:", and exit code 3.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
[[ "$target" == /* ]] || target="$PWD/$target"

skipped() {
    echo "skipped: $1"
    exit 3
}

for tool in node npm; do
    command -v "$tool" >/dev/null || skipped "there is no $tool (apt-get install npm)"
done
if [[ ! -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ]]; then
    timeout 120 rustup target add wasm32-unknown-unknown || skipped "rustup target add wasm32-unknown-unknown"
fi
if [[ ! -x web/node_modules/.bin/tsc ]]; then
    (cd web && timeout 300 npm ci --no-audit --no-fund) || skipped "npm cannot fetch what web/package.json names"
fi

cargo build --package fhec-web --profile web --target wasm32-unknown-unknown
rm -rf web/npm/wasm web/npm/dist web/dist
cargo run --quiet --locked --manifest-path web/bind/Cargo.toml --target-dir "$target" -- \
    "$target/wasm32-unknown-unknown/web/fhec_web.wasm" web/npm/wasm
web/node_modules/.bin/wasm-opt -O3 --strip-debug --strip-producers web/npm/wasm/fhec_web_bg.wasm -o web/npm/wasm/fhec_web_bg.wasm

web/node_modules/.bin/tsc --project web/npm
cp LICENSE web/npm/
mkdir -p web/dist/client
cp -r web/npm/dist web/npm/wasm web/dist/client/
cp web/demo/*.html web/demo/*.css web/dist/
web/node_modules/.bin/tsc --project web/demo
echo "web/npm $(stat -c %s web/npm/wasm/fhec_web_bg.wasm) bytes of WebAssembly"
echo "web/dist: fhec serve --demo web/dist"
