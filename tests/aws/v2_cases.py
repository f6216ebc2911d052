"""awsiotsdk: the V2 shadow client over MQTT 3.1.1 and 5."""

import functools
import queue
import threading
from concurrent.futures import Future

from awscrt import mqtt5
from awscrt import mqtt_request_response as rr
from awsiot import ServiceStreamOptions, V2ServiceException, iotshadow
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from cloud import DEADLINE


def cases(cloud):
    for version, connect in (("3.1.1", Old), ("5.0", New)):
        for case in (classic, named, streams, conflict):
            thing = cloud.thing(f"{case.__name__}-{version[0]}")
            yield f"awsiotsdk {version}: {case.__doc__}", functools.partial(
                run, case, connect, cloud, thing)
    yield "awsiotsdk 5.0: " + foreign.__doc__, functools.partial(foreign, cloud)


def arguments(cloud, thing):
    return {"endpoint": "localhost", "port": cloud.port, "cert_filepath": thing.certificate,
            "pri_key_filepath": thing.key, "ca_filepath": thing.ca, "client_id": thing.name}


class Old:
    def __init__(self, cloud, thing):
        self.client = mqtt_connection_builder.mtls_from_path(**arguments(cloud, thing))

    def __enter__(self):
        self.client.connect().result(DEADLINE)
        return self.client

    def __exit__(self, *_):
        self.client.disconnect().result(DEADLINE)


class New:
    def __init__(self, cloud, thing):
        self.connected, self.stopped = Future(), threading.Event()
        self.client = mqtt5_client_builder.mtls_from_path(
            on_lifecycle_connection_success=self.connected.set_result,
            on_lifecycle_connection_failure=lambda data: self.connected.set_exception(
                data.exception),
            on_lifecycle_stopped=lambda data: self.stopped.set(), **arguments(cloud, thing))

    def __enter__(self):
        self.client.start()
        self.connected.result(DEADLINE)
        return self.client

    def __exit__(self, *_):
        self.client.stop()
        assert self.stopped.wait(DEADLINE)


def run(case, connect, cloud, thing):
    with connect(cloud, thing) as client:
        options = rr.ClientOptions(max_request_response_subscriptions=6,
                                   max_streaming_subscriptions=6,
                                   operation_timeout_in_seconds=DEADLINE)
        case(iotshadow.IotShadowClientV2(client, options), thing.name)


def refused(future, code):
    try:
        future.result(DEADLINE)
    except V2ServiceException as error:
        assert error.modeled_error.code == code, error.modeled_error
        return error.modeled_error
    raise AssertionError(f"not refused with {code}")


def classic(shadows, thing):
    """a classic shadow: none, update, get, delete"""
    get = lambda: shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=thing))
    missing = refused(get(), 404)
    assert missing.message == f"No shadow exists with name: '{thing}'", missing
    state = iotshadow.ShadowState(desired={"led": "on", "n": 1}, reported={"n": 1})
    done = shadows.update_shadow(
        iotshadow.UpdateShadowRequest(thing_name=thing, state=state)).result(DEADLINE)
    assert (done.version, done.state.desired) == (1, {"led": "on", "n": 1}), done
    found = get().result(DEADLINE)
    assert (found.version, found.state.delta) == (1, {"led": "on"}), found
    clear = iotshadow.ShadowState(desired=None, desired_is_nullable=True)
    shadows.update_shadow(
        iotshadow.UpdateShadowRequest(thing_name=thing, state=clear)).result(DEADLINE)
    found = get().result(DEADLINE)
    assert (found.version, found.state.desired, found.state.reported) == (2, None, {"n": 1}), found
    gone = shadows.delete_shadow(iotshadow.DeleteShadowRequest(thing_name=thing)).result(DEADLINE)
    assert gone.version == 2
    refused(get(), 404)
    again = shadows.update_shadow(
        iotshadow.UpdateShadowRequest(thing_name=thing, state=state)).result(DEADLINE)
    assert again.version == 3


def named(shadows, thing):
    """a named shadow beside the classic one"""
    update = lambda name: shadows.update_named_shadow(iotshadow.UpdateNamedShadowRequest(
        thing_name=thing, shadow_name=name, state=iotshadow.ShadowState(desired={"a": name})))
    for name in ("update", "name"):
        assert update(name).result(DEADLINE).version == 1
    found = shadows.get_named_shadow(iotshadow.GetNamedShadowRequest(
        thing_name=thing, shadow_name="update")).result(DEADLINE)
    assert found.state.desired == {"a": "update"}
    refused(shadows.get_shadow(iotshadow.GetShadowRequest(thing_name=thing)), 404)
    shadows.delete_named_shadow(iotshadow.DeleteNamedShadowRequest(
        thing_name=thing, shadow_name="name")).result(DEADLINE)
    missing = refused(shadows.delete_named_shadow(iotshadow.DeleteNamedShadowRequest(
        thing_name=thing, shadow_name="name")), 404)
    assert missing.message == f"No shadow exists with name: '{thing}~name'", missing
    refused(update("bad.name"), 400)


def streams(shadows, thing):
    """streams of deltas and of documents"""
    events, ready = queue.Queue(), queue.Queue()
    options = lambda what: ServiceStreamOptions(
        incoming_event_listener=lambda event: events.put((what, event)),
        subscription_status_listener=lambda event: ready.put(event.type))
    open_streams = [
        shadows.create_shadow_delta_updated_stream(
            iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=thing), options("delta")),
        shadows.create_shadow_updated_stream(
            iotshadow.ShadowUpdatedSubscriptionRequest(thing_name=thing), options("documents"))]
    for stream in open_streams:
        stream.open()
    for _ in open_streams:
        wanted = rr.SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED
        assert ready.get(timeout=DEADLINE) == wanted
    change = lambda **state: shadows.update_shadow(iotshadow.UpdateShadowRequest(
        thing_name=thing, state=iotshadow.ShadowState(**state))).result(DEADLINE)
    change(desired={"rate": 1})
    seen = [events.get(timeout=DEADLINE) for _ in range(2)]
    assert [what for what, _ in seen] == ["delta", "documents"], seen
    assert (seen[0][1].state, seen[0][1].version) == ({"rate": 1}, 1)
    assert seen[1][1].previous is None and seen[1][1].current.version == 1
    change(reported={"rate": 1})
    what, event = events.get(timeout=DEADLINE)
    assert (what, event.previous.version, event.current.version) == ("documents", 1, 2)
    assert events.empty()


def conflict(shadows, thing):
    """a version that is not current is refused"""
    change = lambda version: shadows.update_shadow(iotshadow.UpdateShadowRequest(
        thing_name=thing, state=iotshadow.ShadowState(desired={"a": 1}), version=version))
    change(None).result(DEADLINE)
    assert refused(change(7), 409).message == "Version conflict"
    assert change(1).result(DEADLINE).version == 2


def foreign(cloud):
    """a thing reaches its own shadows only, and not after its certificate is revoked"""
    thing = cloud.thing("owner")
    with New(cloud, thing) as client:
        for topic in ("$aws/things/other/shadow/get/+", "$aws/things/+/shadow/get/accepted", "#"):
            asked = mqtt5.SubscribePacket([mqtt5.Subscription(topic, mqtt5.QoS(1))])
            codes = client.subscribe(asked).result(DEADLINE).reason_codes
            assert codes == [mqtt5.SubackReasonCode.NOT_AUTHORIZED], topic
        for topic in ("$aws/things/other/shadow/update", "$aws/things/owner/shadow/update/delta"):
            sent = mqtt5.PublishPacket(topic=topic, payload="{}", qos=mqtt5.QoS(1))
            code = client.publish(sent).result(DEADLINE).puback.reason_code
            assert code == mqtt5.PubackReasonCode.NOT_AUTHORIZED, topic
    cloud.call("DELETE", f"/v1/things/owner/certificates/{thing.serial}")
    late = New(cloud, thing)
    late.client.start()
    try:
        late.connected.result(DEADLINE)
    except Exception:
        pass
    else:
        raise AssertionError("a revoked certificate was let in")
    finally:
        late.client.stop()
        assert late.stopped.wait(DEADLINE)
