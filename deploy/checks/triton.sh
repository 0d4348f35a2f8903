#!/usr/bin/env bash
# An unmodified tritonclient (PyPI) carries a ciphertext: the answer is the one that `fhec remote`
# gets, byte for byte, and decrypts to the right class.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

python=${PYTHON:-python3}
"$python" -c 'import tritonclient.http' 2>/dev/null || skip "no tritonclient: pip install 'tritonclient[http]'"
prepare
serve

"$fhec" remote "http://$address" --token-file "$place/alice.token" --home "$place/home" --json \
    classify mnist "$root/models/digits/digit_7_a.png" --keep "$place/kept" >"$place/report.json"
keys=$("$python" -c "import json; print(json.load(open('$place/kept/receipt.json'))['keys'])")
"$python" "$(dirname "${BASH_SOURCE[0]}")/triton.py" "$address" "$(cat "$place/alice.token")" "$keys" \
    "$place/kept/image.ct" "$place/triton.ct"
cmp "$place/kept/answer.ct" "$place/triton.ct" || fail "the answers differ"
keys=$(dirname "$(find "$place/home" -name secret.key)")
class=$("$fhec" decrypt "$place/mnist.fhec" "$place/triton.ct" --keys "$keys" --json |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["class"])')
[[ $class == 7 ]] || fail "the answer says $class"
echo "passed: triton"
