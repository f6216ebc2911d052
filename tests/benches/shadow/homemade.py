"""What a backend team builds in a week: an asyncio worker between HTTP, mosquitto and PostgreSQL.

Everything that arrives while a transaction runs shares the next one, and is answered after its
commit. It keeps no history, has no deltas, no conflict checks and no resume: less than what it is
measured against. Arguments: the port of mosquitto, the DSN of PostgreSQL, the token.
"""

import asyncio
import json
import logging
import sys

import aiomqtt
import asyncpg
import uvloop
from aiohttp import web

SCHEMA = """
CREATE TABLE IF NOT EXISTS shadows (
    node text, key text, desired jsonb, reported jsonb, version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (node, key))
"""
UPSERT = """
INSERT INTO shadows AS s (node, key, {half})
SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])
ON CONFLICT (node, key) DO UPDATE
SET {half} = coalesce(s.{half}, '{{}}') || excluded.{half}, version = s.version + 1
"""
MOST = 1000


class Committer:
    """Writes what has come in, in batches."""

    def __init__(self, connection):
        self.connection = connection
        self.waiting = []
        self.wake = asyncio.Event()

    async def write(self, half, node, key, patch):
        done = asyncio.get_running_loop().create_future()
        self.waiting.append((half, node, key, patch, done))
        self.wake.set()
        await done

    async def write_all(self, half, writes):
        done = asyncio.get_running_loop().create_future()
        self.waiting.extend((half, *write, None) for write in writes[:-1])
        self.waiting.append((half, *writes[-1], done))
        self.wake.set()
        await done

    async def run(self):
        while True:
            await self.wake.wait()
            batch, self.waiting = self.waiting[:MOST], self.waiting[MOST:]
            if not self.waiting:
                self.wake.clear()
            merged = {"desired": {}, "reported": {}}
            for half, node, key, patch, _ in batch:
                merged[half].setdefault((node, key), {}).update(patch)
            async with self.connection.transaction():
                for half, rows in merged.items():
                    if rows:
                        nodes, keys = zip(*rows)
                        patches = [json.dumps(patch) for patch in rows.values()]
                        await self.connection.execute(
                            UPSERT.format(half=half), list(nodes), list(keys), patches)
            for *_, done in batch:
                if done and not done.done():
                    done.set_result(None)


async def main(mqtt_port, dsn, token):
    # It warns of each publish that waits for its turn, and a thousand may.
    logging.getLogger("mqtt").setLevel(logging.ERROR)
    connection = await asyncpg.connect(dsn)
    await connection.execute(SCHEMA)
    committer = Committer(connection)
    client = aiomqtt.Client(
        "127.0.0.1", port=mqtt_port, max_queued_incoming_messages=0, timeout=120)
    async with client as mqtt:
        await mqtt.subscribe("report/+", qos=1)

        async def patch(request):
            if request.headers.get("Authorization") != f"Bearer {token}":
                return web.json_response({"error": "unauthorized"}, status=401)
            node, key = request.match_info["node"], request.match_info["key"]
            changes = await request.json()
            await committer.write("desired", node, key, changes)
            await mqtt.publish(f"desired/{node}", json.dumps(changes), qos=1)
            return web.json_response({"node": node, "key": key, "accepted": True})

        async def batch(request):
            if request.headers.get("Authorization") != f"Bearer {token}":
                return web.json_response({"message": "unauthorized"}, status=401)
            writes = (await request.json())["writes"]
            await committer.write_all(
                "desired", [(write["node"], write["key"], write["patch"]) for write in writes])
            await asyncio.gather(*(
                mqtt.publish(f"desired/{write['node']}", json.dumps(write["patch"]), qos=1)
                for write in writes))
            return web.json_response({"results": [{"status": 200}] * len(writes)})

        async def take(node, payload):
            said = json.loads(payload)
            await committer.write("reported", node, said["key"], said["patch"])
            await mqtt.publish(f"ack/{node}", str(said["n"]), qos=1)

        app = web.Application()
        app.router.add_post("/v1/batch", batch)
        app.router.add_patch("/v1/nodes/{node}/shadows/{key:.+}", patch)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
        await site.start()
        port = runner.addresses[0][1]
        print(json.dumps({"http": f"127.0.0.1:{port}"}), flush=True)
        running = {asyncio.ensure_future(committer.run())}
        async for message in mqtt.messages:
            node = str(message.topic).split("/", 1)[1]
            task = asyncio.ensure_future(take(node, message.payload))
            running.add(task)
            task.add_done_callback(running.discard)


uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
