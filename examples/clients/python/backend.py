"""A backend in plain Python: backend.py NODE. GNOMON_URL and GNOMON_TOKEN say which cloud."""

import json
import os
import sys
import urllib.error
import urllib.request

URL, TOKEN = os.environ["GNOMON_URL"], os.environ["GNOMON_TOKEN"]


def call(method, path, body=None, **headers):
    """Returns (status, headers, body); a refusal is no exception."""
    request = urllib.request.Request(
        URL + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json",
                 **{name.replace("_", "-"): value for name, value in headers.items()}})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, answer.headers, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.load(error)


def set_price(shadow, price):
    """Sets the price only if nobody changed the shadow since it was read; tries again if so."""
    while True:
        _, headers, _ = call("GET", shadow)
        status, _, body = call("PATCH", shadow, {"price": price}, If_Match=headers["ETag"])
        if status != 412:
            return status, body


def watch(path, last=None):
    """Yields (id, event, data) of the stream, from behind the event `last` on."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if last:
        headers["Last-Event-ID"] = last
    stream = urllib.request.urlopen(urllib.request.Request(URL + path, headers=headers), timeout=30)
    event, data = {}, []
    for line in stream:
        line = line.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(":")
            data.append(value.strip()) if name == "data" else event.update({name: value.strip()})
        elif event:
            yield event.get("id"), event.get("event"), json.loads("".join(data))
            event, data = {}, []


def main(node):
    shadow = f"/v1/nodes/{node}/shadows/device/pump-7"
    print("node:", call("PUT", f"/v1/nodes/{node}", {"labels": {"region": "north"}})[0])
    print("written:", call("PATCH", shadow, {"price": 1.75})[0])

    stale = call("PATCH", shadow, {"price": 1.80}, If_Match='"9"')
    print("a version that is out of date:", stale[0], stale[2]["error"]["code"])
    print("the version that is there:", set_price(shadow, 1.79)[0])

    # Everything that is there, then `synced` with an id to come back with.
    for place, event, data in watch(f"/v1/watch?node={node}"):
        if event == "synced":
            break
    call("PATCH", shadow, {"price": 1.81})
    # Nothing is missed between the two connections.
    for _, event, data in watch(f"/v1/watch?node={node}", place):
        if event == "shadow":
            print("changed meanwhile:", data["patch"])
            break

    versions = call("GET", f"/v1/nodes/{node}/history/device/pump-7")[2]["versions"]
    for entry in versions:
        print(f"version {entry['version']} by {entry['by']}:", entry["patch"])


if __name__ == "__main__":
    main(sys.argv[1])
