// A menu as it happens: its list, its connection, its past, and the card of the dish that is open.
import { call, key, open as openAnswer } from "./api.js";
import { Avoid } from "./avoid.js";
import { card } from "./card.js";
import { Connection } from "./connection.js";
import { replace, shown } from "./dom.js";
import { failures } from "./failures.js";
import { History, lines } from "./history.js";
import { languageName, t } from "./i18n.js";
import { DishList, legend } from "./list.js";
import { stages } from "./model.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const quiet = 4000; // ms between two progress reports that are read aloud

export class SessionView {
  id;
  #token;
  #go;
  #askKey;
  #path;
  #history = new History();
  #early = null; // events that came while the history was being read
  #at = 0; // how many events are shown; 0: all
  #past = null;
  #changed = new Set(); // dishes
  #all = true; // the whole list has changed
  #drawing = 0;
  #wanted = ""; // the dish that the address names
  #pushed = false; // by a click here, so that closing goes back
  #said = { text: "", at: 0 };
  #problem = "";
  #end = new AbortController();

  // The token stands for a key where the session is only read.
  get #credential() {
    return this.#token ? `?${new URLSearchParams({ token: this.#token })}` : "";
  }

  constructor(id, token, { go, askKey }) {
    Object.assign(this, { id });
    this.#token = token;
    this.#go = go;
    this.#askKey = askKey;
    this.#path = `/v1/sessions/${encodeURIComponent(id)}`;
    this.list = new DishList($("dishes"), (dish) => {
      this.#pushed = true;
      this.#go({ session: this.id, dish, token: this.#token });
    });
    this.avoid = new Avoid($("filter"), $("filter-note"), () => this.#redraw());
    this.timeline = new Timeline($("timeline"), (n) => {
      this.#at = n;
      this.#past = n > 0 ? this.#history.at(n) : null;
      this.#redraw();
    });
    this.connection = new Connection(
      `${this.#path}/events${this.#credential}`,
      (type, event) => this.#event(type, event),
      () => this.#connectionChanged(),
    );
    this.#listen();
    replace($("dishes"));
    legend($("legend"));
    this.connection.start();
  }

  get #session() {
    return this.#past ?? this.#history.live;
  }

  #listen() {
    const on = (id, type, fn) => $(id).addEventListener(type, fn, { signal: this.#end.signal });
    for (const name of ["filter", "timeline"]) {
      const toggle = () => {
        $(name).hidden = !$(name).hidden;
        $(`${name}-open`).setAttribute("aria-expanded", String(!$(name).hidden));
        if (name === "timeline") {
          if ($(name).hidden) this.timeline.live();
          else this.timeline.update(this.#history.events);
        }
        if (!$(name).hidden) $(name).querySelector("input:enabled, button:enabled")?.focus();
        this.#draw();
      };
      on(`${name}-open`, "click", toggle);
    }
    on("print", "click", () => window.print());
    on("again", "click", () => this.again());
    on("failures-open", "click", () => failures($("failures"), this.id, {
      name: (dish) => this.#history.live.dishes.get(dish)?.name,
      retried: () => this.connection.goOn(),
      refused: (failure) => this.#refused(failure, () => $("failures-open").click()),
    }));
    on("card", "close", () => this.#closed());
  }

  // again connects anew, for instance with another key.
  again() {
    this.#problem = "";
    this.connection.start();
  }

  close() {
    this.connection.stop();
    this.timeline.close();
    cancelAnimationFrame(this.#drawing);
    this.#end.abort();
    this.#wanted = "";
    $("card").close();
    $("failures").close();
    for (const name of ["filter", "timeline"]) {
      $(name).hidden = true;
      $(`${name}-open`).setAttribute("aria-expanded", "false");
    }
  }

  translate() {
    legend($("legend"));
    this.avoid.translate();
    this.timeline.translate();
    this.list.rebuild();
    this.#redraw();
    this.#connectionChanged();
  }

  #event(type, event) {
    if (type === "reset") this.#reload();
    if (!type.includes(".")) return; // the stream's own
    if (this.#early) this.#early.push(event);
    else this.#add(event);
    this.#draw();
  }

  #add(event) {
    for (const dish of this.#history.add(event)) this.#changed.add(dish);
    if (event.type === "menu.erased") this.#all = true;
  }

  // reload reads the session's history, where the stream cannot tell its beginning any more; and its rows, where the
  // history cannot.
  async #reload() {
    if (this.#early) return; // it is being read
    this.#early = [];
    try {
      const history = new History();
      const query = new URLSearchParams({ session: this.id });
      for await (const event of lines((await openAnswer(`/v1/events?${query}`)).body)) history.add(event);
      if (!["menu.submitted", "menu.erased"].includes(history.events[0]?.type)) {
        const [row, { menus }] = await Promise.all([call(this.#path + this.#credential), call(`${this.#path}/menus${this.#credential}`)]);
        history.events.length = 0;
        history.live.fromRows(row, menus);
      }
      this.#history = history;
    } catch (failure) {
      this.#refused(failure, () => this.again());
    }
    const early = this.#early;
    this.#early = null;
    for (const event of early) this.#add(event);
    this.#redraw();
  }

  #connectionChanged() {
    const { state, text } = this.connection;
    if (state === "gone" && this.#history.events.length === 0) this.#reload();
    if (state === "key") {
      this.#askKey(t(key() ? "problem.wrongkey" : "problem.key"), () => {
        this.#token = ""; // it is too old, or was never good
        this.connection.url = `${this.#path}/events`;
        this.again();
      });
    }
    $("connection").className = `connection ${state}`;
    $("connection-text").textContent = text;
    $("again").hidden = !["failed", "forbidden", "key"].includes(state);
    if (["failed", "missing", "forbidden"].includes(state)) this.#say(text);
    else if (state === "waiting") this.#say(t("connection.retrying")); // not every second of it
    else if (state === "open" && this.#said.text === t("connection.retrying")) this.#say(text);
    this.#draw();
  }

  #refused(failure, then) {
    if (failure.status === 401) this.#askKey(t(key() ? "problem.wrongkey" : "problem.key"), then);
    else this.#problem = failure.status === 403 ? t("problem.forbidden") : failure.status ? failure.message : t("problem.network");
    this.#draw();
  }

  #redraw() {
    this.#all = true;
    this.#draw();
  }

  // draw brings the page up to date once a frame, however many events came.
  #draw() {
    if (this.#drawing) return;
    this.#drawing = requestAnimationFrame(() => {
      this.#drawing = 0;
      const session = this.#session;
      this.#head(session);
      const grown = this.#grown !== session.dishes.size;
      if (this.#all || (grown && !this.#past)) this.list.show(session, this.avoid.active ? this.avoid.codes : none, this.avoid.cross);
      else if (!this.#past && this.#changed.size > 0) {
        for (const dish of this.#changed) this.list.update(dish);
        this.list.updated();
      }
      this.#grown = session.dishes.size;
      this.avoid.tell(session.dishes);
      if (!$("timeline").hidden) this.timeline.update(this.#history.events);
      const open = $("card").open;
      if (this.#wanted && session.dishes.has(this.#wanted) && (!open || this.#all || this.#changed.has(this.#wanted))) this.#card();
      else if (open && !session.dishes.has(this.#wanted)) $("card").close();
      this.#all = false;
      this.#changed.clear();
    });
  }

  #grown = -1;

  #head(session) {
    const all = session.itemCount * stages.length;
    const title = shown(session.title) || t("session.menu");
    if ($("session-title").textContent !== title) $("session-title").textContent = title;
    $("session-title").lang = session.title ? session.source : "";
    document.title = `${title} – Kondate`;
    $("session-facts").textContent = session.source ? `${t("session.dishes", { n: session.itemCount })} · ${languageName(session.source)} → ${languageName(session.target)}` : "";
    $("progress").max = all || 1;
    $("progress").value = session.answers;
    $("progress").hidden = session.status === "completed" || all === 0;
    const numbers = all > 0 ? t("session.progress", { done: session.answers, all }) : this.connection.state === "missing" ? "" : t("session.loading");
    $("numbers").textContent = numbers;
    $("numbers").hidden = session.status === "completed";
    const outcome = this.#problem || outcomeOf(session);
    $("outcome").textContent = outcome;
    $("outcome").hidden = !outcome;
    $("failures-open").classList.toggle("some", this.#history.live.failures > 0);
    if (!this.#past) this.#say(outcome || numbers, Boolean(outcome));
  }

  // say has a text read aloud; progress no more often than every few seconds.
  #say(text, atOnce = true) {
    if (text === this.#said.text || (!atOnce && Date.now() - this.#said.at < quiet)) return;
    this.#said = { text, at: Date.now() };
    $("news").textContent = text;
  }

  // openDish opens the card of a dish, as soon as there is one; "" closes it.
  openDish(dish) {
    this.#wanted = dish;
    if (!dish) $("card").close();
    this.#redraw();
  }

  #closed() {
    const dish = this.#wanted;
    if (!dish) return; // the address has gone on already
    this.#wanted = "";
    if (this.#pushed) history.back();
    else this.#go({ session: this.id, token: this.#token });
    this.#pushed = false;
    this.list.focus(dish);
  }

  #card() {
    const dish = this.#session.dishes.get(this.#wanted);
    const path = `/v1/menus/${encodeURIComponent(dish.id)}`;
    const ask = async (address) => {
      try {
        await call(address, { method: "POST" });
        this.connection.goOn();
        return "";
      } catch (failure) {
        this.#refused(failure, () => ask(address));
        return failure.status ? failure.message : t("problem.network");
      }
    };
    card($("card"), dish, this.#session, {
      past: this.timeline.past,
      path,
      retry: (stage) => ask(`${path}/stages/${stage}/retry`),
      image: () => ask(`${path}/image`),
      token: this.#token,
    });
    if (!$("card").open) $("card").showModal();
  }
}

const none = new Set();

function outcomeOf(session) {
  switch (session.status) {
    case "completed":
      return session.failures > 0 ? t("session.failures", { n: session.failures }) : t("session.done", { n: session.answers });
    case "expired":
    case "erased":
      return t(`session.${session.status}`);
    default:
      return "";
  }
}
