"""paho-mqtt, what both versions have, on TCP, TLS and WebSocket."""

import functools
import socket
import time

from broker import DEADLINE
from paho_client import V4, V5, Client

NAMES = {V4: "3.1.1", V5: "5.0"}


def cases(broker):
    for protocol in (V4, V5):
        for case in (every_qos, retained, will, no_will, resume, takeover, big, wildcards,
                     keep_alive_holds, keep_alive_ends, unsubscribed, login):
            name = f"paho {NAMES[protocol]}: {case.__doc__}"
            yield name, functools.partial(case, broker, functools.partial(Client, broker, protocol))
        for transport, tls in (("tcp", True), ("websockets", False), ("websockets", True)):
            client = functools.partial(Client, broker, protocol, transport=transport, tls=tls)
            where = f"{transport}{' with TLS' if tls else ''}"
            yield f"paho {NAMES[protocol]} on {where}: {every_qos.__doc__}", functools.partial(
                every_qos, broker, client)
            yield f"paho {NAMES[protocol]} on {where}: {big.__doc__}", functools.partial(
                big, broker, client)


def every_qos(broker, client):
    """QoS 0, 1 and 2 arrive once each, in order"""
    topic = broker.fresh()
    with client() as subscriber, client() as publisher:
        for qos in (0, 1, 2):
            assert subscriber.subscribe(topic, qos) == [qos]
            for n in range(200):
                publisher.publish(topic, str(n), qos)
            found = subscriber.inbox.take(200)
            assert [m.payload for m in found] == [str(n).encode() for n in range(200)]
            assert {m.qos for m in found} == {qos}
        subscriber.inbox.expect_nothing()


def retained(broker, client):
    """retained messages are kept, replaced and deleted"""
    topic = broker.fresh()
    with client() as one:
        for payload in ("old", "new"):
            one.publish(topic, payload, 1, retain=True)
        one.subscribe(topic, 1)
        message = one.inbox.next()
        assert (message.payload, message.retain) == (b"new", True)
        one.publish(topic, "live", 1, retain=True)
        message = one.inbox.next()
        assert (message.payload, message.retain) == (b"live", False)
        one.publish(topic, b"", 1, retain=True)
        assert one.inbox.next().payload == b""
    with client() as late:
        late.subscribe(topic, 1)
        late.inbox.expect_nothing()


def will(broker, client):
    """a will follows a lost connection"""
    topic = broker.fresh()
    with client() as hearer:
        hearer.subscribe(topic, 1)
        lost = client(will={"topic": topic, "payload": "gone", "qos": 1}).__enter__()
        lost.drop()
        assert hearer.inbox.next().payload == b"gone"


def no_will(broker, client):
    """a will does not follow a goodbye"""
    topic = broker.fresh()
    with client() as hearer:
        hearer.subscribe(topic, 1)
        with client(will={"topic": topic, "payload": "gone", "qos": 1}):
            pass
        hearer.inbox.expect_nothing()


def resume(broker, client):
    """a session that is resumed has its subscriptions and what waited"""
    topic, name = broker.fresh(), broker.fresh("resume")
    durable = functools.partial(client, client_id=name, clean=False, expiry=60)
    with durable() as first:
        assert not first.flags.session_present
        first.subscribe(topic, 2)
    with client() as publisher:
        for qos in (0, 1, 2):
            publisher.publish(topic, str(qos), qos)
    with durable() as again:
        assert again.flags.session_present
        assert [m.payload for m in again.inbox.take(2)] == [b"1", b"2"]
        again.inbox.expect_nothing()
    with client(client_id=name, clean=True) as fresh:
        assert not fresh.flags.session_present


def takeover(broker, client):
    """a client that connects again takes its session over"""
    name = broker.fresh("takeover")
    with client(client_id=name) as first, client(client_id=name) as second:
        reason = first.ended.next()
        if first.client.protocol == V5:
            assert reason.value == 0x8E, reason
        topic = broker.fresh()
        second.subscribe(topic)
        second.publish(topic, "x")
        assert second.inbox.next().payload == b"x"


def big(broker, client):
    """a message of a megabyte arrives whole"""
    topic, payload = broker.fresh(), bytes(range(256)) * 4096
    with client() as one:
        one.subscribe(topic, 1)
        one.publish(topic, payload, 1)
        # paho may put a packet aside that took it 100 reads, until more arrives.
        one.publish(topic, "more", 1)
        assert one.inbox.next().payload == payload


def wildcards(broker, client):
    """wildcards match what the standard says"""
    base = broker.fresh()
    with client() as one, client() as other:
        one.subscribe(f"{base}/+/x")
        other.subscribe(f"{base}/#")
        for name in ("", "/a", "/a/x", "/a/b/x", "//x"):
            one.publish(base + name, name)
        assert [m.payload for m in one.inbox.take(2)] == [b"/a/x", b"//x"]
        assert len(other.inbox.take(5)) == 5


def keep_alive_holds(broker, client):
    """a client that pings stays"""
    with client(keep_alive=1) as one:
        one.ended.expect_nothing(3)


def keep_alive_ends(broker, client):
    """a client that does not ping is closed after one and a half times its keep-alive"""
    silent = client(keep_alive=1)
    silent.__enter__()
    silent.client.loop_stop()
    stream = silent.client.socket()
    stream.setblocking(True)
    stream.settimeout(DEADLINE)
    begin = time.monotonic()
    try:
        while stream.recv(100):
            pass
    except ConnectionError:
        pass
    assert time.monotonic() - begin < 4
    stream.close()


def unsubscribed(broker, client):
    """nothing arrives after an unsubscribe"""
    topic = broker.fresh()
    with client() as one:
        one.subscribe(topic, 1)
        _, mid = one.client.unsubscribe(topic)
        one._wait("un", mid)
        one.publish(topic, "x", 1)
        one.inbox.expect_nothing()


def login(broker, client):
    """the right token comes in, a wrong one does not"""
    with client(login=("backend", "a token")) as one:
        assert one.subscribe("$aws/things/+/shadow/update")[0] == 0
    wrong = client(login=("backend", "another"), expect=0x86)
    with wrong:
        pass
