#!/usr/bin/env bash
# A receiver of OpenTelemetry's traces, with the messages of opentelemetry-proto (PyPI), gets what a
# service exports: requests, evaluations and their layers, each under the right one, and nothing
# that tells whose they are. A collector that takes nothing holds nobody up. FHEC has to be built
# with `--features otlp`.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

python=${PYTHON:-python3}
"$python" -c 'import opentelemetry.proto.collector.trace.v1.trace_service_pb2' 2>/dev/null ||
    skip "no opentelemetry-proto: pip install opentelemetry-proto"
command -v curl >/dev/null || skip "no curl"
otlp="$(dirname "${BASH_SOURCE[0]}")/otlp.py"
prepare

# A receiver that keeps what it gets in the folder $2; `endpoint` is where it listens.
receiver() {
    mkdir "$place/$2"
    "$python" "$otlp" "$1" "$place/$2" &
    started+=($!)
    until_it test -s "$place/$2/address"
    endpoint=http://$(cat "$place/$2/address")
}
classify() {
    [[ $("$fhec" remote "http://$address" --token-file "$place/alice.token" --home "$place/home" --json \
        classify mnist "$root/models/digits/digit_$1.png" |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["class"])') == "${1%_*}" ]] || fail "no right answer"
}
# Ends the service, and checks that this takes no longer than 15 s.
end() {
    local service=${started[-1]} begin=$SECONDS
    kill "$service"
    wait "$service" || fail "the service ended with an error: $(cat "$place/state.err")"
    ((SECONDS - begin <= 15)) || fail "the end took $((SECONDS - begin)) s"
    rm "$place/state.out"
}

receiver receive kept
export OTEL_EXPORTER_OTLP_ENDPOINT=$endpoint OTEL_EXPORTER_OTLP_HEADERS=x-check=seven OTEL_SERVICE_NAME=checked
serve -v
grep -q 'exports no traces' "$place/state.err" && fail "$fhec has no export: cargo build -p fhec-cli --features otlp"
classify 7_a
# A client's trace goes on in the service; that of a stranger does not.
trace() {
    curl --silent --output /dev/null --noproxy '*' "${@:2}" \
        --header "traceparent: 00-$1-00f067aa0ba902b7-01" "http://$address/v1/models"
}
trace 4bf92f3577b34da6a3ce929d0e0e4736 --header "authorization: Bearer $(cat "$place/alice.token")"
trace 11111111111111111111111111111111
end
grep -q 'request.*/v1/keys' "$place/state.err" || fail "the log has no requests"
grep -qE 'request\{|evaluation\{' "$place/state.err" && fail "spans are in the log"
"$fhec" inspect "$place/mnist.fhec" --json >"$place/plan.json"
"$python" "$otlp" check "$place/kept" "$place/plan.json" "$(cat "$place/alice.token")" alice

# A collector that takes connections and says nothing, and one that is not there.
receiver silence silent
export OTEL_EXPORTER_OTLP_ENDPOINT=$endpoint
serve
classify 3_a
end
grep -q 'the last traces may be lost' "$place/state.err" || fail "no word of a silent collector"
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$(free_port)
serve
classify 7_a
end
[[ $(grep -c 'the collector does not take them' "$place/state.err") == 1 ]] || fail "not one word of an absent collector"
# A collector that makes no sense keeps no service from starting.
OTEL_EXPORTER_OTLP_ENDPOINT='no address'
serve
end
grep -q 'traces go nowhere' "$place/state.err" || fail "no word of an address that is none"
echo "passed: otlp"
