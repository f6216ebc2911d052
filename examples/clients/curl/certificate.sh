#!/bin/sh
# A key for a thing, made here, and a certificate for it that the cloud signs: certificate.sh THING DIR.
# The key never leaves DIR. GNOMON_URL and GNOMON_TOKEN say which cloud, and who asks.
set -eu
thing=$1
dir=$2
mkdir -p "$dir"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$thing" \
    -keyout "$dir/key.pem" -out "$dir/request.pem" 2>/dev/null
chmod 600 "$dir/key.pem"
# A line break in JSON is \n.
csr=$(awk '{ printf "%s\\n", $0 }' "$dir/request.pem")
curl --silent --show-error --fail --request POST --data "{\"csr_pem\": \"$csr\"}" \
    --header "Authorization: Bearer $GNOMON_TOKEN" --header 'Content-Type: application/json' \
    "$GNOMON_URL/v1/things/$thing/certificates" >"$dir/answer.json"
for name in certificate ca; do
    sed -n "s/.*\"${name}_pem\":\"\([^\"]*\)\".*/\1/p" "$dir/answer.json" | sed 's/\\n/\
/g' >"$dir/$name.pem"
    grep -q 'END CERTIFICATE' "$dir/$name.pem"
done
rm "$dir/answer.json" "$dir/request.pem"
echo "$dir: key.pem, certificate.pem, ca.pem"
