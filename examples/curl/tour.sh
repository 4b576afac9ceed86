#!/bin/bash
# The HTTP API with nothing but curl and jq. BERM_URL: the daemon; BERM_API_KEY: the key, if it wants one.
set -euo pipefail
berm=${BERM_URL:-http://127.0.0.1:8787}
call() { curl --fail-with-body -sS ${BERM_API_KEY:+-H "Authorization: Bearer $BERM_API_KEY"} "$@"; }

# An id; the sandbox begins with its first use, and ends with this script.
id=$(call -X POST "$berm/v1/sandbox" | jq -r .id)
trap 'call -X DELETE "$berm/v1/sandbox/$id"' EXIT

# Limits, labels, and no network but one host.
call -X PUT "$berm/v1/sandbox/$id" -d '{"limits": {"pids": 100}, "labels": {"tour": "yes"}, "egress": {"mode": "deny", "hosts": ["pypi.org"]}}' |
    jq -c '{state, labels, pids: .limits.pids}'

# A file in, a command over it, the file out.
printf 'cherry\napple\n' | call -X PUT "$berm/v1/sandbox/$id/file/workspace/fruit.txt" --data-binary @- | jq -c .
call "$berm/v1/sandbox/$id/execute" -d '{"command": "sort fruit.txt"}' | jq -r .stdout
call "$berm/v1/sandbox/$id/file/workspace/fruit.txt" | wc -c

# A program with its arguments; the answer is a stream of events.
call -N "$berm/v1/sandbox/$id/exec" -d '{"argv": ["echo", "it'\''s $HOME"]}' |
    sed -n 's/^data: //p' | { read -r data && base64 -d <<<"$data" && jq -c .; }

# Python that keeps its names between calls.
context=$(call "$berm/v1/sandbox/$id/contexts" -d '{"language": "python"}' | jq -r .contextId)
for code in 'x = 41' 'x + 1'; do
    call -N "$berm/v1/sandbox/$id/code" -d "{\"context_id\": \"$context\", \"code\": \"$code\"}" |
        sed -n 's/^data: //p' | jq -r 'select(.type == "result").text'
done

# Who is there, and what it uses.
call "$berm/v1/sandboxes?label=tour=yes" | jq '.sandboxes | length'
call "$berm/v1/sandbox/$id?usage=true" | jq '.usage.pids > 0'
