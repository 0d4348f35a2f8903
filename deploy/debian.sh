#!/usr/bin/env bash
# Makes a Debian package of the command and tries it:
#
#   deploy/debian.sh            into target/debian
#
# It has the command, manual pages, completions for bash, zsh and fish, and the files of this folder
# as examples. cargo-deb is installed from crates.io where it is missing. The package is unpacked,
# not installed, and its command answers there.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v dpkg-deb >/dev/null || { echo "no dpkg-deb: packages for Debian are made on Debian" >&2; exit 1; }
cargo deb --version >/dev/null 2>&1 || cargo install --locked cargo-deb

FHEC_COMMIT=${FHEC_COMMIT:-$(git rev-parse --short=12 HEAD)} cargo build --release -p fhec-cli
fhec=${CARGO_TARGET_DIR:-target}/release/fhec
made=target/debian
rm -rf "$made"
mkdir -p "$made/completions"
"$fhec" man --dir "$made/man"
for shell in bash zsh fish; do
    "$fhec" completions "$shell" >"$made/completions/$shell"
done
cargo deb -p fhec-cli --no-build --strip --output "$made/"

package=$(echo "$made"/*.deb)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
dpkg-deb -x "$package" "$place"
"$place/usr/bin/fhec" --version
for file in share/man/man1/fhec-compile.1.gz share/bash-completion/completions/fhec share/doc/fhec/copyright; do
    [[ -s "$place/usr/$file" ]] || { echo "the package lacks usr/$file" >&2; exit 1; }
done
"$place/usr/bin/fhec" compile models/mnist_cnn_deg3.onnx --costs zen5 -o "$place/net.fhec" >/dev/null
"$place/usr/bin/fhec" run "$place/net.fhec" --input models/digits/digit_7_a.png | grep "^encrypted answer: 7"
ls -l "$package"
dpkg-deb -f "$package"
