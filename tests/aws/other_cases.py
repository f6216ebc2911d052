"""AWSIoTPythonSDK, boto3 and the SDK for JavaScript."""

import functools
import json
import pathlib
import queue
import subprocess
import warnings

import boto3
import botocore.config
import botocore.exceptions
from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTShadowClient

from cloud import DEADLINE, KEY, KEYS


def cases(cloud, work):
    yield f"AWSIoTPythonSDK: {first.__doc__}", functools.partial(first, cloud)
    yield f"boto3: {rest.__doc__}", functools.partial(rest, cloud)
    yield f"boto3: {names.__doc__}", functools.partial(names, cloud)
    yield f"boto3: {strangers.__doc__}", functools.partial(strangers, cloud)
    yield f"boto3: {tenants.__doc__}", functools.partial(tenants, cloud)
    yield f"boto3: {certified.__doc__}", functools.partial(certified, cloud)
    yield f"aws-iot-device-sdk-v2 (JavaScript): {javascript.__doc__}", functools.partial(
        javascript, cloud, work)


def first(cloud):
    """update, delta, get and delete with callbacks"""
    thing = cloud.thing("first")
    answers, deltas = queue.Queue(), queue.Queue()
    told = lambda payload, status, token: answers.put((status, payload))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = AWSIoTMQTTShadowClient("first")
        client.configureEndpoint("localhost", cloud.port)
        client.configureCredentials(thing.ca, thing.key, thing.certificate)
        assert client.connect(60)
        shadow = client.createShadowHandlerWithName("first", True)
        shadow.shadowRegisterDeltaCallback(lambda payload, *_: deltas.put(json.loads(payload)))
        shadow.shadowUpdate('{"state":{"desired":{"led":"on"}}}', told, DEADLINE)
        status, payload = answers.get(timeout=DEADLINE)
        assert (status, json.loads(payload)["version"]) == ("accepted", 1), payload
        delta = deltas.get(timeout=DEADLINE)
        assert (delta["state"], delta["version"]) == ({"led": "on"}, 1)
        shadow.shadowGet(told, DEADLINE)
        status, payload = answers.get(timeout=DEADLINE)
        assert json.loads(payload)["state"] == {"desired": {"led": "on"}, "delta": {"led": "on"}}
        shadow.shadowDelete(told, DEADLINE)
        assert answers.get(timeout=DEADLINE)[0] == "accepted"
        shadow.shadowGet(told, DEADLINE)
        status, payload = answers.get(timeout=DEADLINE)
        assert (status, json.loads(payload)["code"]) == ("rejected", 404)
        client.disconnect()


def client_of(cloud, key=KEY):
    return boto3.client(
        "iot-data", endpoint_url=cloud.http, region_name="us-east-1", aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        config=botocore.config.Config(retries={"total_max_attempts": 1}))


def certified(cloud):
    """a thing reaches its own shadows by its certificate, and no other's"""
    thing = cloud.thing("certified")
    client = boto3.client(
        "iot-data", endpoint_url=cloud.https, region_name="us-east-1", verify=thing.ca,
        aws_access_key_id="any", aws_secret_access_key="any",
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, client_cert=(thing.certificate, thing.key)))
    mine, other = {"thingName": "certified"}, {"thingName": "other"}
    said = json.load(client.update_thing_shadow(
        payload='{"state":{"reported":{"led":"on"}}}', **mine)["payload"])
    assert said["version"] == 1
    assert json.load(client.get_thing_shadow(**mine)["payload"])["state"] == {
        "reported": {"led": "on"}}
    assert client.list_named_shadows_for_thing(**mine)["results"] == []
    refused(lambda: client.get_thing_shadow(**other), 403, "ForbiddenException")
    refused(lambda: client.list_named_shadows_for_thing(**other), 403, "ForbiddenException")
    cloud.call("DELETE", f"/v1/things/certified/certificates/{thing.serial}")
    refused(lambda: client.get_thing_shadow(**mine), 403, "ForbiddenException")


def refused(call, status, kind):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        found = (error.response["ResponseMetadata"]["HTTPStatusCode"],
                 error.response["Error"]["Code"])
        assert found == (status, kind), error.response
        return
    raise AssertionError(f"not refused with {status} {kind}")


def rest(cloud):
    """classic and named shadows, conflicts and refusals as modelled exceptions"""
    client = client_of(cloud)
    for extra in ({}, {"shadowName": "$package"}):
        me = {"thingName": "site:a_1", **extra}
        update = lambda body: json.load(
            client.update_thing_shadow(payload=json.dumps(body), **me)["payload"])
        get = lambda: json.load(client.get_thing_shadow(**me)["payload"])
        refused(get, 404, "ResourceNotFoundException")
        said = update({"state": {"desired": {"a": [1, {"b": "é"}]}}, "clientToken": "t"})
        assert (said["version"], said["clientToken"]) == (1, "t")
        assert get()["state"]["delta"] == {"a": [1, {"b": "é"}]}
        old = {"state": {}, "version": 9}
        refused(lambda: update(old), 409, "ConflictException")
        refused(lambda: update({"state": 1}), 400, "InvalidRequestException")
        big = {"state": {"desired": {"a": "x" * 9000}}}
        refused(lambda: update(big), 413, "RequestEntityTooLargeException")
        gone = json.load(client.delete_thing_shadow(**me)["payload"])
        assert gone["version"] == 1
        refused(lambda: client.delete_thing_shadow(**me), 404, "ResourceNotFoundException")


def names(cloud):
    """named shadows are listed page by page"""
    client = client_of(cloud)
    assert client.list_named_shadows_for_thing(thingName="nobody")["results"] == []
    for name in ["a", "b", "c", None]:
        more = {"shadowName": name} if name else {}
        client.update_thing_shadow(thingName="many", payload='{"state":{}}', **more)
    page = client.list_named_shadows_for_thing(thingName="many", pageSize=2)
    assert page["results"] == ["a", "b"]
    page = client.list_named_shadows_for_thing(
        thingName="many", pageSize=2, nextToken=page["nextToken"])
    assert page["results"] == ["c"] and "nextToken" not in page
    found = [thing for thing in cloud.call("GET", "/v1/things")["things"]
             if thing["thing"] == "many"]
    assert found == [{"thing": "many", "tenant": "default", "shadows": 4}], (
        "the native API sees them, too")


def tenants(cloud):
    """a key of a tenant reaches its things and makes them; another's are not there"""
    acme, umbra = (client_of(cloud, KEYS[tenant]) for tenant in ("acme", "umbra"))
    mine = {"thingName": "of-acme"}
    body = {"payload": '{"state":{"desired":{"a":1}}}'}
    acme.update_thing_shadow(**mine, **body)
    acme.update_thing_shadow(**mine, **body, shadowName="set")
    assert json.load(acme.get_thing_shadow(**mine)["payload"])["version"] == 1
    for call in (umbra.get_thing_shadow, umbra.delete_thing_shadow):
        refused(lambda: call(**mine), 404, "ResourceNotFoundException")
    refused(lambda: umbra.update_thing_shadow(**mine, **body), 404, "ResourceNotFoundException")
    assert umbra.list_named_shadows_for_thing(**mine)["results"] == []
    assert acme.list_named_shadows_for_thing(**mine)["results"] == ["set"]
    assert json.load(client_of(cloud).get_thing_shadow(**mine)["payload"])["version"] == 1
    found = cloud.call("GET", "/v1/things?tenant=acme")["things"]
    assert found == [{"thing": "of-acme", "tenant": "acme", "shadows": 2}], found


def strangers(cloud):
    """a wrong secret and an unknown key are refused"""
    for key in ((KEY[0], "another-secret-of-it"), ("AKIAOTHER", KEY[1])):
        client = client_of(cloud, key)
        refused(lambda: client.get_thing_shadow(thingName="t"), 403, "ForbiddenException")


def javascript(cloud, work):
    """update, get, delta stream, conflict and delete"""
    thing = cloud.thing("script")
    script = pathlib.Path(work) / "sdk_v2.mjs"
    done = subprocess.run(
        ["node", script, str(cloud.port), thing.name, thing.certificate, thing.key, thing.ca],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == "passed", done.stdout + done.stderr
