"""Prints each allergen result of a tenant's menus, and which menus were erased.

Run it: pip install nats-py && NATS_URL=nats://127.0.0.1:4222 python3 subscriber.py
"""

import asyncio
import json
import os
import signal
import sys
from urllib.parse import unquote, urlsplit

import nats
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError


def handle(m):
    """It may come twice: what is derived from it must not change by that."""
    session = m.headers["ce-source"].rsplit("/", 1)[-1]
    kind, version = m.headers["ce-type"], m.headers["Kondate-Schema"]
    if kind == "menu.erased":  # delete what you hold of the session
        print("erased", session, flush=True)
    elif kind != "allergen.completed":  # not what this program is about, or a type that it does not know
        pass
    elif version not in ("1", "2"):  # a newer program wrote it
        print("passed over: a result of version", version, file=sys.stderr)
    else:
        for r in json.loads(m.data)["results"]:
            data = r["result"]["data"] or {}  # null where nothing was found, which never means safe
            found = ",".join(f"{a['code']}:{a['level']}" for a in data.get("allergens", []))
            print(session, r["menu_id"], r["result"]["status"], found or "?", flush=True)


async def report(err):
    print(repr(err), file=sys.stderr)


async def main():
    options, url = {}, urlsplit(os.environ["NATS_URL"])
    if url.username:  # of nats://user:password@host:4222; the client would not decode them
        options.update(user=unquote(url.username), password=unquote(url.password or ""))
    if os.environ.get("NATS_CREDS"):
        options["user_credentials"] = os.environ["NATS_CREDS"]
    if os.environ.get("NATS_NKEY"):  # needs pip install nats-py[nkeys]
        options["nkeys_seed"] = os.environ["NATS_NKEY"]
    nc = await nats.connect(f"{url.scheme}://{url.hostname}:{url.port or 4222}", name="team-example", max_reconnect_attempts=-1, error_cb=report, **options)
    stop = asyncio.Event()
    for s in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(s, stop.set)

    # The broker keeps our place under the consumer's name. It is made if it is not there.
    name = os.environ.get("CONSUMER", "team-example-python")
    js = nc.jetstream()
    try:
        await js.consumer_info("MENU_EVENTS", name)
    except NotFoundError:
        tenant = os.environ.get("TENANT", "public")
        await js.add_consumer("MENU_EVENTS", ConsumerConfig(
            durable_name=name,
            ack_policy=AckPolicy.EXPLICIT,
            filter_subjects=[f"menu.evt.{tenant}.*.allergen.completed", f"menu.evt.{tenant}.*.menu.erased"],
        ))
    consumer = await js.pull_subscribe_bind(name, stream="MENU_EVENTS")
    while not stop.is_set():
        try:
            messages = await consumer.fetch(100, timeout=5)
        except asyncio.TimeoutError:
            continue  # nothing new
        except nats.errors.Error as err:  # the broker is away: the client connects again by itself
            await report(err)
            await asyncio.sleep(1)
            continue
        for m in messages:
            try:
                handle(m)
            except (KeyError, TypeError, ValueError) as err:  # it would be the same next time
                print("not readable, set aside:", repr(err), file=sys.stderr)
                await m.term()
            else:
                await m.ack()  # after the work; a lost ack brings the message again
    await nc.close()


asyncio.run(main())
