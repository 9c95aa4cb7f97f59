// Follows a session's stream. An EventSource gives up for good at a 503 and retries the rest for ever; this one counts.
//
//   const stop = follow("/v1/sessions/ID/events", {
//     event: (type, data, id) => {},       // every event; data is parsed JSON
//     state: (name, detail) => {},         // "open", "waiting" {attempt, delay, error}, "ended", "failed" {error}
//   });
//
// An error has the status of the answer that was refused. Options besides: headers, reconnectInterval (ms), maxReconnectAttempts (in a row), lastEventId.
export function follow(url, options = {}) {
  const { event = () => {}, state = () => {}, headers = {}, maxReconnectAttempts = MAX_RECONNECT_ATTEMPTS } = options;
  let pause = options.reconnectInterval ?? RECONNECT_INTERVAL;
  let last = options.lastEventId ?? "", attempts = 0, ended = false;
  const abort = new AbortController();

  // block handles one event: the lines up to an empty one.
  function block(lines) {
    let type = "message", data = [];
    for (const line of lines) {
      if (line === "" || line.startsWith(":")) continue;
      const colon = line.indexOf(":"), name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") type = value;
      else if (name === "data") data.push(value);
      else if (name === "id" && !value.includes("\0")) last = value;
      else if (name === "retry" && /^\d+$/.test(value)) pause = Number(value);
    }
    if (data.length === 0) return;
    if (type === "end") ended = true;
    event(type, JSON.parse(data.join("\n")), last);
  }

  async function connect() {
    const target = new URL(url, globalThis.location?.href);
    if (last) target.searchParams.set("last_event_id", last);
    const response = await fetch(target, { headers: { Accept: "text/event-stream", ...headers }, cache: "no-store", signal: abort.signal });
    if (response.status === 204) { ended = true; return; }
    if (response.status !== 200) {
      await response.body?.cancel();
      const passing = response.status >= 500 || response.status === 429, after = Number(response.headers.get("Retry-After"));
      if (passing && after > 0) pause = Math.max(pause, after * 1000);
      throw Object.assign(new Error(`HTTP ${response.status}`), { status: response.status, permanent: !passing });
    }
    attempts = 0;
    state("open");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; !ended;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the connection was closed");
      const blocks = (rest + value).split("\n\n"); // the server writes LF only; what follows the last one is unfinished
      rest = blocks.pop();
      for (const b of blocks) if (!ended) block(b.split("\n"));
    }
    await reader.cancel();
  }

  async function run() {
    while (!ended && !abort.signal.aborted) {
      try {
        await connect();
      } catch (error) {
        if (abort.signal.aborted) return;
        if (error.permanent || ++attempts > maxReconnectAttempts) return state("failed", { error });
        const delay = pause * (1 + Math.random() / 5);
        state("waiting", { attempt: attempts, delay, error });
        await new Promise((resolve) => { setTimeout(resolve, delay); abort.signal.addEventListener("abort", resolve, { once: true }); });
      }
    }
    if (ended) state("ended");
  }
  run();
  return () => abort.abort();
}
