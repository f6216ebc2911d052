#!/bin/sh
# A backend with curl: backend.sh NODE. GNOMON_URL and GNOMON_TOKEN say which cloud, and who calls.
set -eu
node=$1
shadow=/v1/nodes/$node/shadows/device/pump-7

# call METHOD PATH [BODY [HEADER]]: prints the body; the status is in $status.
call() {
    out=$(curl --silent --show-error --request "$1" --write-out '\n%{http_code}' \
        --header "Authorization: Bearer $GNOMON_TOKEN" --header 'Content-Type: application/json' \
        ${4:+--header "$4"} ${3:+--data "$3"} "$GNOMON_URL$2")
    status=${out##*
}
    body=${out%
*}
}

call PUT "/v1/nodes/$node" '{"labels": {"region": "north"}}'
echo "node: $status"

# A merge patch: what it does not name stays. The answer comes when it is on disk.
call PATCH "$shadow" '{"price": 1.75}'
echo "written: $status"

# Only if nobody wrote in between: the ETag of what was read goes into If-Match.
call PATCH "$shadow" '{"price": 1.80}' 'If-Match: "9"'
echo "a version that is out of date: $status"
etag=$(curl --silent --fail --head --header "Authorization: Bearer $GNOMON_TOKEN" \
    "$GNOMON_URL$shadow" | tr -d '\r' | awk 'tolower($1) == "etag:" { print $2 }')
call PATCH "$shadow" '{"price": 1.79}' "If-Match: $etag"
echo "the version that is there: $status"

# The stream begins with what there is; head ends it after `synced`.
curl --silent --no-buffer --header "Authorization: Bearer $GNOMON_TOKEN" \
    "$GNOMON_URL/v1/watch?node=$node&key=device/pump-7" | sed '/^event: synced/q'

call GET "/v1/nodes/$node/history/device/pump-7?limit=2"
echo "history: $body"
