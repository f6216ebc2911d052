"""A pump that keeps its shadow over MQTT: thing_paho.py HOST PORT THING DIR.

DIR holds key.pem, certificate.pem and ca.pem. It does what the shadow desires, says what it did, and
ends when both are equal. The topics and documents are those of AWS IoT Device Shadow.
"""

import json
import queue
import ssl
import sys

import paho.mqtt.client as mqtt


def main(host, port, thing, folder):
    shadow = f"$aws/things/{thing}/shadow"
    inbox = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=thing)
    client.tls_set(f"{folder}/ca.pem", f"{folder}/certificate.pem", f"{folder}/key.pem",
                   cert_reqs=ssl.CERT_REQUIRED)
    client.on_message = lambda _client, _data, message: inbox.put(message)
    subscribed = queue.Queue()
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.connect(host, int(port))
    client.loop_start()

    client.subscribe([(f"{shadow}/get/+", 1), (f"{shadow}/update/+", 1)])
    subscribed.get(timeout=30)
    # What was desired while the pump was away.
    client.publish(f"{shadow}/get", b"", qos=1)
    while True:
        message = inbox.get(timeout=30)
        what = message.topic.removeprefix(shadow + "/")
        said = json.loads(message.payload)
        if what == "get/rejected" and said["code"] == 404:
            print("there is no shadow yet: reports what it has")
            report(client, shadow, {"price": 0})
        elif what == "get/accepted":
            act(client, shadow, said["state"].get("delta"))
        elif what == "update/delta":
            act(client, shadow, said["state"])
        elif what == "update/documents":
            state = said["current"]["state"]
            if "desired" in state and state["desired"] == state["reported"]:
                print("shows what is desired:", state["reported"])
                break
        elif what.endswith("rejected"):
            raise SystemExit(f"{what}: {said}")
    client.disconnect()
    client.loop_stop()


def act(client, shadow, delta):
    if delta:
        print("shall show:", delta)
        report(client, shadow, delta)


def report(client, shadow, reported):
    client.publish(f"{shadow}/update", json.dumps({"state": {"reported": reported}}), qos=1)


if __name__ == "__main__":
    main(*sys.argv[1:5])
