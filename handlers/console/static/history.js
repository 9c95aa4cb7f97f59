// The events of a session as far as the page knows them, and the session after each of them.
import { Session } from "./model.js";

export class History {
  events = []; // by sequence
  live = new Session(); // after the last event

  get last() {
    return this.events.at(-1)?.seq ?? 0;
  }

  // add folds an event and returns the ids of the dishes that it changed; one that is known already changes nothing.
  add(event) {
    if (event.seq <= this.last) return [];
    this.events.push(event);
    return this.live.apply(event);
  }

  // at returns the session after the first n events; all of them give the live one.
  at(n) {
    if (n >= this.events.length) return this.live;
    const session = new Session();
    for (const event of this.events.slice(0, n)) session.apply(event);
    return session;
  }
}

// lines reads a stream of text as JSON, one document a line.
export async function* lines(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = done ? "" : parts.pop();
    for (const part of parts) if (part.trim()) yield JSON.parse(part);
    if (done) return;
  }
}
