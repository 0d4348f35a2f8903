#!/usr/bin/env bash
# A real nginx (Debian: nginx) with TLS in front of the service, with deploy/nginx.conf as it is but
# for ports and paths: keys, jobs and their events go through, small limits of bodies are kept, and
# /metrics is not to be had from outside. NGINX names another program.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

nginx=${NGINX:-nginx}
command -v "$nginx" >/dev/null || skip "no nginx: apt-get install nginx"
command -v openssl >/dev/null || skip "no openssl"
command -v curl >/dev/null || skip "no curl"
prepare
serve --behind-proxy

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
    -keyout "$place/key.pem" -out "$place/cert.pem" 2>/dev/null
port=$(free_port)
mkdir "$place/nginx"
sed -e "s/127.0.0.1:8080/$address/" -e "s/listen 443 ssl/listen 127.0.0.1:$port ssl/" \
    -e "s/fhec.example/localhost/" -e "s|/etc/ssl/fhec|$place|" -e "s|/var/log/nginx|$place/nginx|" \
    "$root/deploy/nginx.conf" >"$place/fhec.conf"
cat >"$place/nginx.conf" <<END
daemon off;
pid $place/nginx/pid;
error_log $place/nginx/error.log;
events {}
http {
    client_body_temp_path $place/nginx/body;
    proxy_temp_path $place/nginx/proxy;
    fastcgi_temp_path $place/nginx/fastcgi;
    uwsgi_temp_path $place/nginx/uwsgi;
    scgi_temp_path $place/nginx/scgi;
    include $place/fhec.conf;
}
END
# Where it runs as root its workers do not, and have to get at the folder.
chmod 755 "$place" "$place/nginx"
# nginx says on standard error that it cannot open the log of its build, where there is none.
"$nginx" -p "$place/nginx" -c "$place/nginx.conf" 2>"$place/nginx/start.log" &
started+=($!)
url=https://localhost:$port
get() {
    curl --silent --show-error --max-time 30 --cacert "$place/cert.pem" --noproxy '*' "$@"
}
until_it get --fail "$url/v2/health/ready"

remote() {
    "$fhec" remote "$url" --ca "$place/cert.pem" --token-file "$place/alice.token" --home "$place/home" --json "$@"
}
for digit in 7_a 3_a; do
    class=$(remote classify mnist "$root/models/digits/digit_$digit.png" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["class"])')
    [[ $class == "${digit%_a}" ]] || fail "the answer for $digit is $class"
done
status() {
    get --output /dev/null --write-out '%{http_code}' "$@"
}
bearer="authorization: Bearer $(cat "$place/watcher.token")"
[[ $(status -H "$bearer" "$url/v1/models") == 200 ]] || fail "no models"
[[ $(status "$url/v1/models") == 401 ]] || fail "a stranger was let in"
[[ $(status -H "$bearer" "$url/metrics") == 403 ]] || fail "metrics from outside"
# More than a chunk of keys ever has does not get to the service.
before=$(get -H "$bearer" "http://$address/metrics" | grep -c 'status="413"' || true)
[[ $(head -c 80000000 /dev/zero | status -H "$bearer" --data-binary @- "$url/v1/keys") == 413 ]] || fail "80 MB were taken"
[[ $(get -H "$bearer" "http://$address/metrics" | grep -c 'status="413"' || true) == "$before" ]] ||
    fail "the service saw a body that is too large"
# Events come while the job runs, not at its end: a buffering proxy would hold them back.
job=$(remote jobs | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
get -N -H "authorization: Bearer $(cat "$place/alice.token")" "$url/v1/jobs/$job/events" | grep -q '"state":"done"' ||
    fail "no events"
# A proxy whose service is away says 502, which `fhec remote` waits out.
kill "${started[0]}"
wait "${started[0]}" 2>/dev/null || true
[[ $(status -H "$bearer" "$url/v1/models") == 502 ]] || fail "nobody there, and no 502"
(sleep 1; exec "$fhec" serve "$place/models" --tokens "$place/tokens" --state "$place/state" --listen "$address" \
    --behind-proxy >/dev/null 2>&1) &
started+=($!)
remote models | grep -q mnist || fail "the service did not come back"
echo "passed: nginx"
