#!/usr/bin/env bash
# Two services with states of their own share keys by a bucket of moto (PyPI), an S3 of others: what
# was uploaded to one is not uploaded to the other, also when the first one's machine is lost.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

moto=${MOTO:-moto_server}
command -v "$moto" >/dev/null || skip "no moto_server: pip install 'moto[server]'"
command -v curl >/dev/null || skip "no curl"
prepare

port=$(free_port)
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=check AWS_SECRET_ACCESS_KEY=check
export AWS_REGION=us-east-1
"$moto" -H 127.0.0.1 -p "$port" >"$place/moto.out" 2>&1 &
store=$!
started+=($store)
get() {
    curl --silent --show-error --fail --max-time 30 --noproxy '*' "$@"
}
until_it get "$AWS_ENDPOINT_URL/"
get -X PUT "$AWS_ENDPOINT_URL/keys" >/dev/null

bearer="authorization: Bearer $(cat "$place/watcher.token")"
# The value of a counter of the service at an address.
counter() {
    get -H "$bearer" "http://$1/metrics" | sed -n "s/^$2 //p"
}
counts() {
    [[ $(counter "$1" "$2") == "$3" ]]
}
remote() {
    local url=http://$1
    shift
    "$fhec" remote "$url" --token-file "$place/alice.token" --home "$place/home" --json "$@"
}
value() {
    python3 -c "import json, sys; print(json.load(sys.stdin)$1)"
}
# Class and bytes up of a picture at an address.
classify() {
    remote "$1" classify mnist "$root/models/digits/digit_$2.png" >"$place/report.json"
    [[ $(value '["class"]' <"$place/report.json") == "${2%_a}" ]] || fail "no right answer for $2"
    sent=$(value '["steps"]["sent_bytes"]' <"$place/report.json")
}

bucket=(--key-bucket s3://keys/fhec)
serve "${bucket[@]}"
first=$address
first_pid=${started[-1]}
classify "$first" 7_a
((sent > 100000000)) || fail "keys of $sent bytes"
until_it counts "$first" fhec_bucket_stores_total 1
until_it counts "$first" fhec_bucket_waiting 0
objects=$(get "$AWS_ENDPOINT_URL/keys?list-type=2" | grep -o '<Key>fhec/alice/[0-9a-f]*/[a-z.]*</Key>' | wc -l)
[[ $objects == 2 ]] || fail "$objects objects in the bucket"

state=second serve "${bucket[@]}" --key-disk 1MiB
second=$address
# A client has a folder for each address of a service. Here both are to be one service to it: the
# second folder, which even a question in vain makes, gets what is in the first one.
remote "$second" classify nothing nothing.png 2>/dev/null && fail "there is no such model"
homes=("$place"/home/remotes/*)
[[ ${#homes[@]} == 2 ]] || fail "${#homes[@]} folders of services"
for home in "${homes[@]}"; do
    if [[ $home == *-"${first##*:}"-* ]]; then mine=$home; else other=$home; fi
done
cp -r "$mine"/. "$other"/
classify "$second" 3_a
((sent < 2000000)) || fail "$sent bytes to the second service"
counts "$second" fhec_bucket_fetches_total 1 || fail "the keys were not fetched"
counts "$second" fhec_keys_uploaded_bytes_total 0 || fail "keys were uploaded"

# The first machine is lost, with its disk; another one takes its address. The bucket is enough.
kill -KILL "$first_pid"
wait "$first_pid" 2>/dev/null || true
rm -r "$place/state"
state=third serve "${bucket[@]}" --listen "$first"
classify "$first" 7_a
((sent < 2000000)) || fail "$sent bytes to the third service"

# Without its store a service goes on with what it has, and deletes nothing.
kill "$store"
wait "$store" 2>/dev/null || true
classify "$first" 3_a
keys=$(remote "$first" keys list | value '[0]["keys"]')
if remote "$first" --patience 1 keys delete "$keys" 2>"$place/refused"; then fail "deleted without the store"; fi
grep -q 'store of keys' "$place/refused" || fail "refused otherwise: $(cat "$place/refused")"
echo "passed: bucket"
