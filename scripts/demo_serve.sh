#!/bin/bash
# Starts the server on the demo model for a moment and shows one streamed completion.
# usage: scripts/demo_serve.sh WINGSPAN
set -eu
wingspan=$1
log=$(mktemp)
"$wingspan" serve --model models/wren --ep 8 --port 0 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -f "$log"' EXIT
url=
for _ in $(seq 200); do
  url=$(sed -n 's/^wingspan: serving .* on //p' "$log")
  [ -n "$url" ] && break
  kill -0 $server 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "demo: the server did not start within 20 s" >&2; cat "$log" >&2; exit 1; }
body='{"prompt": "Natalia has 12 apples and", "max_tokens": 12, "temperature": 0, "stream": true}'
echo
echo "wingspan serve --model models/wren --ep 8"
echo "curl -sN $url/v1/completions -d '$body'"
exec 3<>"/dev/tcp/127.0.0.1/${url##*:}"
printf 'POST /v1/completions HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
  "${#body}" "$body" >&3
# The texts of the events as they come, and the end.
sed -n -u 's/.*"text":"\([^"]*\)".*/\1/p; s/^data: \[DONE\].*/  [DONE]/p' <&3 | tr -d '\n'
echo
kill -TERM $server
wait $server
