"""The AWS IoT device SDK (3.1.1 and 5 clients on awscrt), with client certificates."""

import functools
import json
import threading
from concurrent.futures import Future

import awscrt.io
from awscrt import mqtt, mqtt5
from awsiot import iotshadow, mqtt5_client_builder, mqtt_connection_builder

from broker import DEADLINE, Inbox
from paho_client import V5, Client


def cases(broker):
    for case in (old_qos, old_resume, old_will, old_shadow):
        yield f"awsiotsdk 3.1.1: {case.__doc__}", functools.partial(case, broker)
    for case in (new_qos, new_properties, new_resume, new_shared, new_denied, new_shadow):
        yield f"awsiotsdk 5.0: {case.__doc__}", functools.partial(case, broker)


class Old:
    """A connection of 3.1.1 while the block runs."""

    def __init__(self, broker, name, clean=True, will=None):
        self.connection = mqtt_connection_builder.mtls_from_path(
            endpoint="localhost", port=broker.tls, cert_filepath=broker.client_certificate,
            pri_key_filepath=broker.client_key, ca_filepath=broker.ca, client_id=name,
            clean_session=clean, keep_alive_secs=30, will=will,
        )
        self.inbox = Inbox()
        self.connection.on_message(lambda topic, payload, **_: self.inbox.put(payload))

    def __enter__(self):
        self.present = self.connection.connect().result(DEADLINE)["session_present"]
        return self

    def __exit__(self, *_):
        self.connection.disconnect().result(DEADLINE)

    def subscribe(self, topic, qos):
        granted, _ = self.connection.subscribe(topic, mqtt.QoS(qos))
        assert granted.result(DEADLINE)["qos"] == qos

    def publish(self, topic, payload, qos, retain=False):
        sent, _ = self.connection.publish(topic, payload, mqtt.QoS(qos), retain)
        sent.result(DEADLINE)


def old_qos(broker):
    """QoS 0 and 1 arrive, and retained messages"""
    topic = broker.fresh()
    with Old(broker, broker.fresh("aws")) as one:
        for qos in (0, 1):
            one.subscribe(topic, qos)
            for n in range(50):
                one.publish(topic, str(n), qos)
            assert [int(payload) for payload in one.inbox.take(50)] == list(range(50))
        one.publish(topic + "/kept", "kept", 1, retain=True)
        one.subscribe(topic + "/+", 1)
        assert one.inbox.next() == b"kept"


def old_resume(broker):
    """a session that is resumed has what waited"""
    topic, name = broker.fresh(), broker.fresh("aws")
    with Old(broker, name, clean=False) as first:
        first.subscribe(topic, 1)
    with Client(broker, V5) as other:
        other.publish(topic, "waited", 1)
    with Old(broker, name, clean=False) as again:
        assert again.present
        assert again.inbox.next() == b"waited"


def old_will(broker):
    """a will follows a takeover"""
    topic, name = broker.fresh(), broker.fresh("aws")
    will = mqtt.Will(topic, mqtt.QoS.AT_LEAST_ONCE, b"gone", False)
    with Client(broker, V5) as hearer:
        hearer.subscribe(topic, 1)
        first = Old(broker, name, will=will).__enter__()
        with Old(broker, name):
            assert hearer.inbox.next().payload == b"gone"
            first.connection.disconnect().result(DEADLINE)


def answer_shadow(broker, connection):
    """Gets a shadow with the SDK's own client; the answer comes from a service at the broker."""
    base = "$aws/things/thing-1/shadow/get"
    with Client(broker, V5, login=("backend", "a token")) as service:
        assert service.subscribe(base, 1) == [1]
        shadow = iotshadow.IotShadowClient(connection)
        got = Future()
        subscribed, _ = shadow.subscribe_to_get_shadow_accepted(
            iotshadow.GetShadowSubscriptionRequest(thing_name="thing-1"),
            mqtt.QoS.AT_LEAST_ONCE, got.set_result)
        subscribed.result(DEADLINE)
        asked = shadow.publish_get_shadow(
            iotshadow.GetShadowRequest(thing_name="thing-1"), mqtt.QoS.AT_LEAST_ONCE)
        asked.result(DEADLINE)
        assert service.inbox.next().topic == base
        document = {"state": {"desired": {"color": "red"}}, "version": 3, "timestamp": 1}
        service.publish(base + "/accepted", json.dumps(document), 1)
        found = got.result(DEADLINE)
        assert (found.state.desired, found.version) == ({"color": "red"}, 3)


def old_shadow(broker):
    """the SDK's shadow client gets a shadow"""
    with Old(broker, broker.fresh("aws")) as one:
        answer_shadow(broker, one.connection)


class New:
    """A client of 5.0 while the block runs."""

    def __init__(self, broker, name, clean=True, expiry=0):
        self.inbox, self.connected = Inbox(), Future()
        self.stopped = threading.Event()
        resuming = mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS
        self.client = mqtt5_client_builder.mtls_from_path(
            endpoint="localhost", port=broker.tls, cert_filepath=broker.client_certificate,
            pri_key_filepath=broker.client_key, ca_filepath=broker.ca,
            connect_options=mqtt5.ConnectPacket(
                client_id=name, keep_alive_interval_sec=30, session_expiry_interval_sec=expiry),
            session_behavior=None if clean else resuming,
            on_publish_received=lambda data: self.inbox.put(data.publish_packet),
            on_lifecycle_connection_success=lambda data: self.connected.set_result(data),
            on_lifecycle_connection_failure=lambda data: self.connected.set_exception(
                data.exception),
            on_lifecycle_stopped=lambda data: self.stopped.set(),
        )

    def __enter__(self):
        self.client.start()
        self.connack = self.connected.result(DEADLINE).connack_packet
        return self

    def __exit__(self, *_):
        self.client.stop(mqtt5.DisconnectPacket())
        assert self.stopped.wait(DEADLINE)

    def subscribe(self, topic, qos=1):
        asked = mqtt5.SubscribePacket([mqtt5.Subscription(topic, mqtt5.QoS(qos))])
        return self.client.subscribe(asked).result(DEADLINE).reason_codes

    def publish(self, topic, payload, qos=1, **extra):
        sent = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS(qos), **extra)
        return self.client.publish(sent).result(DEADLINE).puback


def new_qos(broker):
    """QoS 0 and 1 arrive, large ones too"""
    topic = broker.fresh()
    with New(broker, broker.fresh("aws")) as one:
        one.subscribe(topic)
        for n in range(50):
            one.publish(topic, str(n), qos=n % 2)
        assert sorted(int(p.payload) for p in one.inbox.take(50)) == list(range(50))
        one.publish(topic, b"x" * 100_000)
        assert len(one.inbox.next().payload) == 100_000


def new_properties(broker):
    """user properties, response topic and correlation data arrive"""
    topic = broker.fresh()
    with New(broker, broker.fresh("aws")) as one:
        one.subscribe(topic)
        one.publish(topic, "x", user_properties=[mqtt5.UserProperty("a", "1")],
                    response_topic="t/answer", correlation_data=b"\1", content_type="text/plain")
        found = one.inbox.next()
        assert (found.response_topic, found.correlation_data_bytes) == ("t/answer", b"\1")
        assert [(p.name, p.value) for p in found.user_properties] == [("a", "1")]


def new_resume(broker):
    """a session that is resumed has what waited"""
    topic, name = broker.fresh(), broker.fresh("aws")
    with New(broker, name, clean=False, expiry=60) as first:
        first.subscribe(topic)
    with Client(broker, V5) as other:
        other.publish(topic, "waited", 1)
    with New(broker, name, clean=False, expiry=60) as again:
        assert again.connack.session_present
        assert again.inbox.next().payload == b"waited"


def new_shared(broker):
    """a shared subscription gets messages"""
    topic = broker.fresh()
    with New(broker, broker.fresh("aws")) as one, New(broker, broker.fresh("aws")) as two:
        for member in (one, two):
            member.subscribe(f"$share/g/{topic}")
        for n in range(10):
            one.publish(topic, str(n))
        found = one.inbox.take(5) + two.inbox.take(5)
        assert sorted(int(p.payload) for p in found) == list(range(10))


def new_denied(broker):
    """what the rules deny is refused with its reason"""
    with New(broker, broker.fresh("aws")) as one:
        codes = one.subscribe("$aws/things/thing-2/shadow/update")
        assert codes == [mqtt5.SubackReasonCode.NOT_AUTHORIZED]
        answer = one.publish("$aws/things/thing-2/shadow/update", "x")
        assert answer.reason_code == mqtt5.PubackReasonCode.NOT_AUTHORIZED


def new_shadow(broker):
    """the SDK's shadow client gets a shadow"""
    with New(broker, broker.fresh("aws")) as one:
        answer_shadow(broker, one.client)


awscrt.io.init_logging(awscrt.io.LogLevel.NoLogs, "stderr")
