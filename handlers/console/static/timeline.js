// The session's events as a line to move along: the list shows the state after the chosen one.
import { el, replace } from "./dom.js";
import { stageName, t } from "./i18n.js";

const step = 500; // ms between two events of a replay
const longest = 60; // steps of a replay

// describe says what an event was about.
export function describe({ type, data }) {
  const [lane, name] = type.split(".");
  if (lane === "menu" && name === "submitted") return t("event.submitted", { n: data.items.length });
  if (lane === "menu" || lane === "image") return t(`event.${lane}.${name}`);
  return t(`event.${name}`, { stage: stageName(lane), n: (data.results ?? data.menu_ids).length });
}

export class Timeline {
  #root;
  #show;
  #events = [];
  #at = 0; // events shown; 0: all, and what comes
  #timer = 0;
  #parts = null;

  // show(n) is called with the number of events to show, 0 for all.
  constructor(root, show) {
    this.#root = root;
    this.#show = show;
  }

  get past() {
    return this.#at > 0;
  }

  // update tells the line what has happened so far.
  update(events) {
    this.#events = events;
    this.#draw();
  }

  translate() {
    this.#parts = null;
    this.#draw();
  }

  // live goes back to now.
  live() {
    this.#move(0);
  }

  close() {
    clearInterval(this.#timer);
    this.#at = this.#timer = 0;
    this.#parts = null;
    this.#events = [];
    replace(this.#root);
  }

  #build() {
    const range = el("input", { type: "range", min: 1, step: 1, "aria-label": t("timeline.title"), input: () => this.#pick(Number(range.value)) });
    const button = (name, sign, click) => el("button", { type: "button", "aria-label": t(`timeline.${name}`), title: t(`timeline.${name}`), click }, sign);
    const play = el("button", { type: "button", class: "play", click: () => (this.#timer ? this.#pause() : this.#play()) });
    const back = button("back", "‹", () => this.#pick(Math.max(1, this.#shown - 1)));
    const forth = button("forth", "›", () => this.#pick(Math.min(this.#events.length, this.#shown + 1)));
    const live = el("button", { type: "button", click: () => this.#pick(0) }, t("timeline.live"));
    const text = el("p", { class: "event" });
    const note = el("p", { class: "past" }, t("timeline.past"));
    this.#parts = { range, play, back, forth, live, text, note };
    replace(this.#root, el("h2", {}, t("timeline.title")), el("div", { class: "scrub" }, back, play, forth, range, live), text, note);
  }

  get #shown() {
    return this.#at || this.#events.length;
  }

  #draw() {
    if (!this.#parts) this.#build();
    const { range, play, back, forth, live, text, note } = this.#parts;
    const n = this.#shown;
    const event = this.#events[n - 1];
    range.max = Math.max(1, this.#events.length);
    range.value = n;
    range.disabled = play.disabled = this.#events.length < 2;
    play.textContent = t(this.#timer ? "timeline.pause" : "timeline.play");
    back.disabled = n <= 1;
    forth.disabled = n >= this.#events.length;
    live.hidden = note.hidden = !this.past;
    if (!event) return;
    const after = (Date.parse(event.time) - Date.parse(this.#events[0].time)) / 1000;
    const what = `${t("timeline.position", { n, all: this.#events.length })} · +${after.toFixed(1)} s · ${describe(event)}`;
    text.textContent = what;
    range.setAttribute("aria-valuetext", what);
  }

  #move(n) {
    this.#at = n >= this.#events.length && !this.#timer ? 0 : n;
    this.#show(this.#at);
    this.#draw();
  }

  #play() {
    const many = Math.ceil(this.#events.length / longest);
    this.#timer = setInterval(() => {
      if (this.#at >= this.#events.length) return this.#pick(0);
      this.#move(Math.min(this.#events.length, this.#at + many));
    }, step);
    this.#move(1);
  }

  #pick(n) {
    this.#pause();
    this.#move(n);
  }

  #pause() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#draw();
  }
}
