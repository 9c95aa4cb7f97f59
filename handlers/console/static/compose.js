// The form: a menu as text or JSON, its languages, and what the server says is wrong with it.
import { Refused, call, post, randomKey } from "./api.js";
import { el, replace, shown } from "./dom.js";
import { language, languageName, t } from "./i18n.js";
import { format, read } from "./parse.js";
import { tokenOf } from "./route.js";

const $ = (id) => document.getElementById(id);

const languages = ["ja", "en", "zh-Hans", "zh-Hant", "ko", "fr", "de", "es", "it"];
const samples = ["izakaya", "soba", "grill"];

export class Compose {
  #form;
  #go;
  #askKey;
  #sample = { text: "", menu: null }; // submitted as it is while nobody changes its text
  #attempt = { body: "", key: "" }; // a repeat of the same menu is the same submission
  #lines = []; // of the dishes that were sent

  constructor(form, { go, askKey }) {
    this.#form = form;
    this.#go = go;
    this.#askKey = askKey;
    for (const id of ["source", "target"]) replace($(id), languages.map((code) => el("option", { value: code })));
    for (const file of samples) $("samples").append(el("button", { type: "button", class: "plain", "data-sample": file, click: () => this.#take(file) }));
    $("source").value = "ja";
    $("target").value = language() === "ja" ? "ja" : "en";
    $("text").addEventListener("input", () => this.#count());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.translate();
  }

  show() {
    this.#form.hidden = false;
  }

  hide() {
    this.#form.hidden = true;
  }

  translate() {
    for (const button of $("samples").children) button.textContent = t(`compose.${button.dataset.sample}`);
    for (const id of ["source", "target"]) for (const option of $(id).options) option.textContent = languageName(option.value);
    this.#count();
  }

  #read() {
    if ($("text").value === this.#sample.text && this.#sample.menu) {
      return { body: this.#sample.menu, lines: read(this.#sample.text).lines };
    }
    return read($("text").value);
  }

  #count() {
    let n = 0;
    try {
      n = this.#read().body.items?.length ?? 0;
    } catch {
      // JSON in the making
    }
    $("count").textContent = n > 0 ? t("compose.count", { n }) : "";
  }

  async #take(file) {
    try {
      const { source_language: source, target_language: target, ...menu } = await call(`/console/samples/${file}.json`);
      $("source").value = source;
      $("target").value = source === "ja" && language() === "ja" ? "en" : target;
      $("title").value = menu.title;
      $("text").value = format(menu);
      this.#sample = { text: $("text").value, menu };
      this.#clear();
      this.#count();
      $("send").focus();
    } catch (failure) {
      this.#complain(failure);
    }
  }

  async #send() {
    this.#clear();
    let menu;
    try {
      menu = this.#read();
    } catch (failure) {
      return this.#wrong("text", [t("compose.json", { why: failure.message })]);
    }
    if (menu.body.items?.length === 0) return this.#wrong("text", [t("compose.empty")]);
    this.#lines = menu.lines;
    const title = $("title").value.trim();
    const body = JSON.stringify({ source_language: $("source").value, target_language: $("target").value, ...(title && { title }), ...menu.body });
    if (body !== this.#attempt.body) this.#attempt = { body, key: randomKey() };
    $("send").disabled = true;
    $("send").textContent = t("compose.sending");
    try {
      const accepted = await post("/v1/sessions", body, { "Idempotency-Key": this.#attempt.key });
      this.#go({ session: accepted.session_id, token: tokenOf(accepted.stream_url) });
    } catch (failure) {
      this.#complain(failure);
    } finally {
      $("send").disabled = false;
      $("send").textContent = t("compose.send");
    }
  }

  #clear() {
    $("problem").hidden = true;
    for (const id of ["text", "source", "target", "title"]) {
      $(id).removeAttribute("aria-invalid");
      $(`${id}-problem`).hidden = true;
    }
  }

  // wrong says at a field what is wrong with it.
  #wrong(id, problems) {
    $(id).setAttribute("aria-invalid", "true");
    replace($(`${id}-problem`), problems.length === 1 ? el("p", {}, problems[0]) : el("ul", {}, problems.map((p) => el("li", {}, p))));
    $(`${id}-problem`).hidden = false;
    $(id).focus();
  }

  // complain shows why the menu was not taken: at the field where the server names one, else above the form.
  #complain(failure) {
    if (failure.status === 401) return this.#askKey(t("problem.key"), () => this.#send());
    const rest = [];
    const at = { text: [], source: [], target: [], title: [] };
    for (const { field, problem } of failure.problem?.errors ?? []) {
      const item = /^items\[(\d+)\]\.?(.*)$/u.exec(field);
      if (item) at.text.push(this.#atDish(Number(item[1]), item[2], problem));
      else if (field === "source_language") at.source.push(problem);
      else if (field === "target_language") at.target.push(problem);
      else if (field === "title") at.title.push(problem);
      else if (field === "items" || field === "body") at.text.push(problem);
      else rest.push(`${field}: ${problem}`);
    }
    for (const [id, problems] of Object.entries(at).reverse()) if (problems.length > 0) this.#wrong(id, problems);
    if (Object.values(at).some((problems) => problems.length > 0) && rest.length === 0) return;
    let why = t("problem.network");
    if (failure instanceof Refused) why = failure.status === 403 ? t("problem.forbidden") : failure.message;
    replace($("problem"), el("p", {}, el("strong", {}, t("problem.title"))), rest.length > 0 ? el("ul", {}, rest.map((r) => el("li", {}, r))) : el("p", {}, why));
    $("problem").hidden = false;
    $("problem").focus();
  }

  #atDish(i, field, problem) {
    const line = this.#lines[i];
    if (!line) return t("compose.dish", { n: i + 1, field, problem });
    const name = shown($("text").value.split(/\r\n|\r|\n/u)[line - 1]).slice(0, 40);
    return t("compose.line", { n: line, name, field, problem });
  }
}
