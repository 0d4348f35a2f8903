#!/usr/bin/env bash
# A Prometheus (Debian: prometheus) scrapes /metrics with the operator's token, and has the figures
# of a job afterwards. PROMETHEUS names another program.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

prometheus=${PROMETHEUS:-prometheus}
command -v "$prometheus" >/dev/null || skip "no prometheus: apt-get install prometheus"
prepare
serve
port=$(free_port)
cat >"$place/prometheus.yml" <<END
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: fhec
    authorization:
      credentials_file: $place/watcher.token
    static_configs:
      - targets: ["$address"]
END
"$prometheus" --config.file="$place/prometheus.yml" --storage.tsdb.path="$place/tsdb" \
    --web.listen-address="127.0.0.1:$port" --log.level=error 2>"$place/prometheus.err" &
started+=($!)

# The value of an expression; nothing where there is none.
value() {
    python3 - "http://127.0.0.1:$port/api/v1/query" "$1" <<'END'
import json, sys, urllib.parse, urllib.request
url = sys.argv[1] + "?" + urllib.parse.urlencode({"query": sys.argv[2]})
for result in json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]:
    print(result["value"][1])
END
}
is() {
    [[ $(value "$1") == "$2" ]]
}

until_it is 'up{job="fhec"}' 1
"$fhec" remote "http://$address" --token-file "$place/alice.token" --home "$place/home" \
    classify mnist "$root/models/digits/digit_7_a.png" >/dev/null
until_it is 'fhec_jobs_left_total{outcome="done"}' 1
until_it is 'fhec_evaluation_seconds_count{model="mnist"}' 1
until_it is 'fhec_jobs_queued + fhec_jobs_running' 0
[[ $(value 'fhec_keys_resident_bytes') -gt 100000000 ]] || fail "no keys in memory"
[[ $(value 'fhec_keys_uploaded_bytes_total') -gt 100000000 ]] || fail "no bytes of keys"
# Not for anybody else.
sed -i "s/watcher.token/alice.token/" "$place/prometheus.yml"
kill -HUP "${started[-1]}"
until_it is 'up{job="fhec"}' 0
echo "passed: prometheus"
