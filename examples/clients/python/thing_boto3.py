"""A backend of AWS IoT against gnomon-cloud: thing_boto3.py THING PRICE.

Only endpoint_url differs. GNOMON_URL is the cloud; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are in
its file of access keys ([aws] access_keys).
"""

import json
import os
import sys

import boto3


def main(thing, price):
    client = boto3.client("iot-data", endpoint_url=os.environ["GNOMON_URL"], region_name="any")
    update = lambda state, **more: json.load(client.update_thing_shadow(
        thingName=thing, payload=json.dumps({"state": state, **more}))["payload"])

    said = update({"desired": {"price": price}})
    print("version:", said["version"])
    try:
        update({"desired": {"price": 0}}, version=said["version"] + 7)
    except client.exceptions.ConflictException:
        print("another version is there: ConflictException")
    shadow = json.load(client.get_thing_shadow(thingName=thing)["payload"])
    print("desired:", shadow["state"]["desired"], "delta:", shadow["state"].get("delta"))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
