#!/usr/bin/env bash
# schemathesis (PyPI) makes requests of the OpenAPI document of a running service: none may be
# answered with a 5xx, and answers have to be of the statuses, types and schemas of the document.
# Once with the names of keys and of a job that are there, once with made-up ones. Bodies of bytes that
# fit the document are no ciphertexts all the same: that they are refused is no failure.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

schemathesis=${SCHEMATHESIS:-schemathesis}
command -v "$schemathesis" >/dev/null || skip "no schemathesis: pip install schemathesis"
prepare
serve

token=$(cat "$place/watcher.token")
remote() {
    "$fhec" remote "http://$address" --token-file "$place/watcher.token" --home "$place/home" --json "$@"
}
value() {
    python3 -c "import json, sys; print(json.load(sys.stdin)$1)"
}
classify() {
    [[ $(remote classify mnist "$root/models/digits/digit_7_a.png" | value '["class"]') == 7 ]] || fail "no right answer"
}

classify
cat >"$place/named.toml" <<END
[parameters]
"path.model" = "mnist"
"path.keys" = "$(remote keys list | value '[0]["keys"]')"
"query.keys" = "$(remote keys list | value '[0]["keys"]')"
"path.job" = "$(remote jobs | value '[0]["id"]')"
END
touch "$place/made-up.toml"

for names in named made-up; do
    echo "== $names"
    case $names in
        # Nothing is deleted that the requests after it need.
        named) only=(--exclude-method DELETE --exclude-checks positive_data_acceptance) ;;
        # What does not exist is answered with 404, whatever else is wrong: as what is somebody else's.
        made-up) only=(--exclude-checks positive_data_acceptance,missing_required_header) ;;
    esac
    # It keeps what it has found in the folder that it is started in.
    (cd "$place" && "$schemathesis" --config-file "$place/$names.toml" run "http://$address/openapi.json" \
        --header "Authorization: Bearer $token" --seed "${SEED:-1}" --max-examples "${EXAMPLES:-20}" \
        --request-timeout 20 --no-color "${only[@]}")
done
# It is as it was.
classify
echo "passed: openapi"
