// Prints each allergen result of a tenant's menus, and which menus were erased. Run it: npm ci && NATS_URL=nats://127.0.0.1:4222 node subscriber.mjs
import { readFileSync } from "node:fs";
import { AckPolicy, JetStreamApiCodes, JetStreamApiError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator, nkeyAuthenticator } from "@nats-io/transport-node";

// It may come twice: what is derived from it must not change by that.
function handle(m) {
  const session = m.headers.get("ce-source").split("/").pop();
  const version = m.headers.get("Kondate-Schema");
  switch (m.headers.get("ce-type")) {
    case "menu.erased": // delete what you hold of the session
      console.log("erased", session);
      break;
    case "allergen.completed":
      if (version !== "1" && version !== "2") { // a newer program wrote it
        console.error("passed over: a result of version", version);
        break;
      }
      for (const { menu_id, result } of m.json().results) {
        // data is null where nothing was found, which never means safe
        const found = (result.data?.allergens ?? []).map(({ code, level }) => `${code}:${level}`);
        console.log(session, menu_id, result.status, found.join(",") || "?");
      }
  } // else not what this program is about, or a type that it does not know
}

const { NATS_URL, NATS_CREDS, NATS_NKEY, CONSUMER = "team-example-node", TENANT = "public" } = process.env;
// The user of an URL such as nats://user:password@host:4222 is given apart.
const at = new URL(NATS_URL);
const nc = await connect({
  servers: at.host,
  name: "team-example",
  maxReconnectAttempts: -1,
  ...(at.username && { user: decodeURIComponent(at.username), pass: decodeURIComponent(at.password) }),
  ...(NATS_NKEY && { authenticator: nkeyAuthenticator(new TextEncoder().encode(readFileSync(NATS_NKEY, "utf8").trim())) }),
  ...(NATS_CREDS && { authenticator: credsAuthenticator(readFileSync(NATS_CREDS)) }),
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => nc.close());

// The broker keeps our place under the consumer's name. It is made if it is not there.
const manager = await jetstreamManager(nc, { checkAPI: false });
try {
  await manager.consumers.info("MENU_EVENTS", CONSUMER);
} catch (err) {
  if (!(err instanceof JetStreamApiError && err.code === JetStreamApiCodes.ConsumerNotFound)) throw err;
  await manager.consumers.add("MENU_EVENTS", {
    durable_name: CONSUMER,
    ack_policy: AckPolicy.Explicit,
    filter_subjects: [`menu.evt.${TENANT}.*.allergen.completed`, `menu.evt.${TENANT}.*.menu.erased`],
  });
}
const consumer = await jetstream(nc, { checkAPI: false }).consumers.get("MENU_EVENTS", CONSUMER);
while (!nc.isClosed()) {
  try {
    for await (const m of await consumer.consume({ max_messages: 100, expires: 5000 })) {
      try {
        handle(m);
        m.ack(); // after the work; a lost ack brings the message again
      } catch (err) {
        console.error("not readable, set aside:", err.message); // it would be the same next time
        m.term(err.message);
      }
    }
  } catch (err) { // the broker is away: the client connects again by itself
    console.error(err.message);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
