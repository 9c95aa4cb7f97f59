// The stream of a session, and in words how it is with it.
import { follow } from "/client.js";
import { headers } from "./api.js";
import { t } from "./i18n.js";

export class Connection {
  url;
  #event;
  #changed;
  #stop = () => {};
  #timer = 0;
  #until = 0;
  #last = "";
  // connecting, open, waiting, failed, ended; or what the server answers: missing (404), gone (410), key (401),
  // forbidden (403)
  state = "connecting";

  // event(type, data) gets every event, changed() is called when state or text has changed.
  constructor(url, event, changed) {
    this.url = url;
    this.#event = event;
    this.#changed = changed;
  }

  // start goes on after the last event that came.
  start() {
    this.stop();
    this.#set("connecting");
    this.#stop = follow(this.url, {
      headers: headers(),
      lastEventId: this.#last,
      event: (type, data, id) => {
        this.#last = id;
        this.#event(type, data);
      },
      state: (state, detail) => {
        if (state === "waiting") this.#until = Date.now() + detail.delay;
        const answered = { 401: "key", 403: "forbidden", 404: "missing", 410: "gone" }[detail?.error?.status];
        this.#set(state === "failed" ? answered ?? "failed" : state);
      },
    });
  }

  stop() {
    this.#stop();
    clearInterval(this.#timer);
  }

  // goOn starts anew where nothing comes any more: something is at work again.
  goOn() {
    if (!["open", "connecting", "waiting"].includes(this.state)) this.start();
  }

  #set(state) {
    this.state = state;
    clearInterval(this.#timer);
    if (state === "waiting") this.#timer = setInterval(this.#changed, 1000);
    this.#changed();
  }

  get text() {
    switch (this.state) {
      case "waiting": {
        const n = Math.ceil((this.#until - Date.now()) / 1000);
        return n > 0 ? t("connection.waiting", { n }) : t("connection.retrying");
      }
      case "missing":
        return t("session.missing");
      case "gone":
        return t("connection.ended");
      case "key":
        return t("problem.key");
      case "forbidden":
        return t("problem.forbidden");
      default:
        return t(`connection.${this.state}`);
    }
  }
}
