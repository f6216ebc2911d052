"""paho-mqtt, what only 5.0 has."""

import functools
import threading

from broker import eventually
from paho_client import V4, V5, Client, properties


def cases(broker):
    all_cases = (shared, passed_through, alias, receive_maximum, message_expiry, identifiers,
                 maximum_packet, denied, assigned, server_keep_alive, will_delay, no_local,
                 retain_handling, retain_as_published, session_ends, between_versions,
                 announced)
    for case in all_cases:
        yield f"paho 5.0: {case.__doc__}", functools.partial(
            case, broker, functools.partial(Client, broker, V5))


def shared(broker, client):
    """the members of a group share its messages"""
    topic = broker.fresh()
    with client() as one, client() as two, client() as publisher:
        for member in (one, two):
            member.subscribe(f"$share/group/{topic}", 1)
        for n in range(100):
            publisher.publish(topic, str(n), 1)
        eventually("all", lambda: one.inbox.queue.qsize() + two.inbox.queue.qsize() >= 100)
        counts = [member.inbox.queue.qsize() for member in (one, two)]
        assert sum(counts) == 100 and min(counts) >= 30, counts
        found = {m.payload for member in (one, two) for m in member.inbox.take(member.inbox.queue.qsize())}
        assert len(found) == 100


def passed_through(broker, client):
    """what a request needs arrives with it"""
    topic = broker.fresh()
    with client() as one:
        one.subscribe(topic, 1)
        given = properties("PUBLISH", ResponseTopic="t/answer", CorrelationData=b"\0\1",
                           ContentType="text/plain", PayloadFormatIndicator=1,
                           UserProperty=[("a", "1"), ("a", "2")])
        one.publish(topic, "x", 1, properties=given)
        found = one.inbox.next().properties
        assert (found.ResponseTopic, found.CorrelationData) == ("t/answer", b"\0\1")
        assert (found.ContentType, found.PayloadFormatIndicator) == ("text/plain", 1)
        assert found.UserProperty == [("a", "1"), ("a", "2")]


def alias(broker, client):
    """a topic alias stands for its topic"""
    topic = broker.fresh()
    with client() as one:
        assert one.properties.TopicAliasMaximum >= 1
        one.subscribe(topic, 1)
        one.publish(topic, "named", 1, properties=properties("PUBLISH", TopicAlias=1))
        one.publish("", "alias", 1, properties=properties("PUBLISH", TopicAlias=1))
        assert [(m.topic, m.payload) for m in one.inbox.take(2)] == [
            (topic, b"named"), (topic, b"alias")]


def receive_maximum(broker, client):
    """no more is under way than the client takes at once"""
    topic = broker.fresh()
    slow = client(connect_properties=properties("CONNECT", ReceiveMaximum=2), manual_ack=True)
    with slow, client() as publisher:
        slow.subscribe(topic, 1)
        for n in range(6):
            publisher.publish(topic, str(n), 1)
        found = slow.inbox.take(2)
        slow.inbox.expect_nothing()
        while found:
            message = found.pop(0)
            slow.client.ack(message.mid, message.qos)
            if int(message.payload) < 4:
                found.append(slow.inbox.next())
        slow.inbox.expect_nothing()


def message_expiry(broker, client):
    """a message that waited too long is not delivered"""
    topic, name = broker.fresh(), broker.fresh("expiry")
    durable = functools.partial(client, client_id=name, clean=False, expiry=60)
    with durable() as first:
        first.subscribe(topic, 1)
    with client() as publisher:
        for seconds in (1, 100):
            publisher.publish(topic, str(seconds), 1,
                              properties=properties("PUBLISH", MessageExpiryInterval=seconds))
    threading.Event().wait(1.6)
    with durable() as again:
        message = again.inbox.next()
        assert message.payload == b"100" and 90 <= message.properties.MessageExpiryInterval < 100
        again.inbox.expect_nothing()


def identifiers(broker, client):
    """a message says which subscription it is for"""
    topic = broker.fresh()
    with client() as one:
        given = properties("SUBSCRIBE", SubscriptionIdentifier=7)
        _, mid = one.client.subscribe(topic, qos=1, properties=given)
        one._wait("sub", mid)
        one.publish(topic, "x", 1)
        assert one.inbox.next().properties.SubscriptionIdentifier == [7]


def maximum_packet(broker, client):
    """what is larger than the client takes is not sent to it"""
    topic = broker.fresh()
    small = client(connect_properties=properties("CONNECT", MaximumPacketSize=1000))
    with small, client() as publisher:
        small.subscribe(topic, 1)
        publisher.publish(topic, b"x" * 2000, 1)
        publisher.publish(topic, b"small", 1)
        assert small.inbox.next().payload == b"small"


def denied(broker, client):
    """what the rules deny is refused with its reason"""
    with client() as one:
        assert one.subscribe("forbidden", 1) == [0x87]
        assert one.subscribe("#", 1) == [0x87]
        assert one.publish("forbidden", "x", 1).value == 0x87
        # paho goes on with PUBREL, for a message that the broker has not taken.
        assert one.publish("forbidden", "x", 2).value in (0x87, 0x92)
        assert one.publish("$SYS/x", "x", 1).value == 0x87


def assigned(broker, client):
    """a client without an id is given one"""
    with client() as one, client() as two:
        names = {one.properties.AssignedClientIdentifier, two.properties.AssignedClientIdentifier}
        assert len(names) == 2


def server_keep_alive(broker, client):
    """a keep-alive that is too long is shortened"""
    with client(keep_alive=6000) as one:
        assert one.properties.ServerKeepAlive == 600


def will_delay(broker, client):
    """a will with a delay does not follow if the client is back in time"""
    topic, name = broker.fresh(), broker.fresh("delay")
    given = {"topic": topic, "payload": "gone", "qos": 1,
             "properties": properties("WILLMESSAGE", WillDelayInterval=2)}
    with client() as hearer:
        hearer.subscribe(topic, 1)
        lost = client(client_id=name, clean=False, expiry=60, will=given).__enter__()
        lost.drop()
        back = client(client_id=name, clean=False, expiry=60, will=given).__enter__()
        hearer.inbox.expect_nothing(2.5)
        back.drop()
        assert hearer.inbox.next().payload == b"gone"


def no_local(broker, client):
    """a client that wants no echo gets none"""
    topic = broker.fresh()
    with client() as one, client() as other:
        one.subscribe(topic, 1, noLocal=True)
        one.publish(topic, "own", 1)
        other.publish(topic, "other", 1)
        assert one.inbox.next().payload == b"other"


def retain_handling(broker, client):
    """a subscription says when it wants retained messages"""
    topic = broker.fresh()
    with client() as one:
        one.publish(topic, "kept", 1, retain=True)
        one.subscribe(topic, 1, retainHandling=2)
        one.inbox.expect_nothing()
        one.subscribe(topic, 1, retainHandling=1)
        one.inbox.expect_nothing()
        one.subscribe(topic, 1, retainHandling=0)
        assert one.inbox.next().payload == b"kept"


def retain_as_published(broker, client):
    """a subscription may see the retain flag as it was published"""
    topic = broker.fresh()
    with client() as one:
        one.subscribe(topic, 1, retainAsPublished=True)
        one.publish(topic, "x", 1, retain=True)
        assert one.inbox.next().retain


def session_ends(broker, client):
    """a session ends when its expiry has passed"""
    name = broker.fresh("ends")
    durable = functools.partial(client, client_id=name, clean=False, expiry=1)
    with durable():
        pass
    with durable() as again:
        assert again.flags.session_present
    threading.Event().wait(1.6)
    with durable() as late:
        assert not late.flags.session_present


def between_versions(broker, client):
    """clients of both versions hear each other"""
    topic = broker.fresh()
    with client() as new, Client(broker, V4) as old:
        for one in (new, old):
            one.subscribe(topic, 1)
        new.publish(topic, "new", 1, properties=properties("PUBLISH", UserProperty=[("a", "1")]))
        old.publish(topic, "old", 1)
        for one in (new, old):
            assert {m.payload for m in one.inbox.take(2)} == {b"new", b"old"}


def announced(broker, client):
    """the broker announces its limits"""
    with client() as one:
        found = one.properties
        assert found.MaximumPacketSize == 2097152
        assert found.ReceiveMaximum == 1000
