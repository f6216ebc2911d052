"""paho-mqtt with an inbox and without callbacks of one's own."""

import ssl
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker import DEADLINE, Inbox, wait_for

V4, V5 = mqtt.MQTTv311, mqtt.MQTTv5


def properties(kind, **values):
    found = Properties(getattr(PacketTypes, kind))
    for name, value in values.items():
        setattr(found, name, value)
    return found


class Client:
    """A client that is connected while the block runs."""

    def __init__(self, broker, protocol=V5, client_id="", transport="tcp", tls=False, clean=True,
                 expiry=0, will=None, login=None, keep_alive=60, connect_properties=None,
                 manual_ack=False, expect=0):
        extra = {"clean_session": clean} if protocol == V4 else {}
        self.inbox, self.ended = Inbox(), Inbox()
        self.answers = {}
        self.lock = threading.Condition()
        self.connected = threading.Event()
        self.expect = expect
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol,
            transport=transport, manual_ack=manual_ack, reconnect_on_failure=False, **extra,
        )
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda c, u, f, reason, p: self.ended.put(reason)
        self.client.on_message = lambda c, u, message: self.inbox.put(message)
        self.client.on_publish = lambda c, u, mid, reason, p: self._answer("pub", mid, reason)
        self.client.on_subscribe = lambda c, u, mid, codes, p: self._answer("sub", mid, codes)
        self.client.on_unsubscribe = lambda c, u, mid, codes, p: self._answer("un", mid, codes)
        if will:
            self.client.will_set(**will)
        if login:
            self.client.username_pw_set(*login)
        if tls:
            self.client.tls_set(broker.ca, broker.client_certificate, broker.client_key,
                                cert_reqs=ssl.CERT_REQUIRED)
        port = {("tcp", False): broker.plain, ("tcp", True): broker.tls,
                ("websockets", False): broker.websocket,
                ("websockets", True): broker.secure_websocket}[transport, tls]
        self.target = ("localhost" if tls else "127.0.0.1", port, keep_alive)
        self.arguments = {}
        if protocol == V5:
            given = connect_properties or properties("CONNECT")
            if expiry:
                given.SessionExpiryInterval = expiry
            self.arguments = {"clean_start": clean, "properties": given}

    def _on_connect(self, _client, _data, flags, reason, found):
        self.flags, self.reason, self.properties = flags, reason, found
        self.connected.set()

    def _answer(self, kind, mid, value):
        with self.lock:
            self.answers[kind, mid] = value
            self.lock.notify_all()

    def _wait(self, kind, mid):
        with self.lock:
            arrived = self.lock.wait_for(lambda: (kind, mid) in self.answers, DEADLINE)
            assert arrived, f"no answer to {kind} {mid}"
            return self.answers.pop((kind, mid))

    def __enter__(self):
        self.client.connect(*self.target, **self.arguments)
        self.client.loop_start()
        wait_for(self.connected, "CONNACK")
        assert self.reason.value == self.expect, f"{self.reason}"
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic, qos=0, **options):
        if options:
            options = {"options": SubscribeOptions(qos=qos, **options)}
        result, mid = self.client.subscribe(topic, **(options or {"qos": qos}))
        assert result == 0
        return [code.value for code in self._wait("sub", mid)]

    def publish(self, topic, payload=b"", qos=0, **extra):
        sent = self.client.publish(topic, payload, qos, **extra)
        return self._wait("pub", sent.mid)

    def drop(self):
        """Breaks the connection off without a goodbye."""
        self.client.loop_stop()
        self.client._sock_close()
