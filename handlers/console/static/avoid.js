// The panel "my allergens", and the line that says what it does to the list.
import { choices } from "./codes.js";
import { el, replace } from "./dom.js";
import { codesOf, count } from "./filter.js";
import { choiceName, list, t } from "./i18n.js";

const slot = "kondate.avoid";

// Avoid remembers on this device what a guest avoids.
export class Avoid {
  #panel;
  #note;
  #changed;
  #keys;
  codes; // allergen codes to avoid
  cross = false; // such dishes are crossed out, not hidden

  constructor(panel, note, changed) {
    this.#panel = panel;
    this.#note = note;
    this.#changed = changed;
    let kept = [];
    try {
      kept = JSON.parse(localStorage.getItem(slot) ?? "[]");
    } catch {
      // not ours
    }
    this.#keys = new Set(choices.map(([key]) => key).filter((key) => Array.isArray(kept) && kept.includes(key)));
    this.codes = codesOf(this.#keys);
    this.translate();
  }

  get active() {
    return this.#keys.size > 0;
  }

  translate() {
    const boxes = choices.map(([key]) => el("label", { class: "choice" },
      el("input", { type: "checkbox", value: key, checked: this.#keys.has(key), change: (event) => this.#set(key, event.target.checked) }), " ", choiceName(key)));
    replace(
      this.#panel,
      el("fieldset", {}, el("legend", {}, t("filter.legend")), el("div", { class: "choices" }, boxes)),
      el("p", { class: "buttons" }, el("button", { type: "button", click: () => this.#clear() }, t("filter.clear")), el("span", { class: "hint" }, t("filter.hint"))),
    );
  }

  #set(key, on) {
    if (on) this.#keys.add(key);
    else this.#keys.delete(key);
    this.#keep();
  }

  #clear() {
    this.#keys.clear();
    for (const box of this.#panel.querySelectorAll("input")) box.checked = false;
    this.#keep();
  }

  #keep() {
    this.codes = codesOf(this.#keys);
    localStorage.setItem(slot, JSON.stringify([...this.#keys]));
    this.#changed();
  }

  // tell says what is hidden, and that the rest is not cleared.
  tell(dishes) {
    this.#note.hidden = !this.active || dishes.size === 0;
    if (this.#note.hidden) return;
    const n = count(dishes.values(), this.codes);
    const what = list(choices.map(([key]) => key).filter((key) => this.#keys.has(key)).map(choiceName));
    const text = [t(this.cross ? "filter.crossed" : "filter.hidden", { n: n.avoid, what }), t("filter.may", { n: n.may }), t("filter.unknown", { n: n.unknown })].join(" ");
    if (this.#note.dataset.text === text) return;
    this.#note.dataset.text = text;
    const focused = this.#note.contains(document.activeElement);
    const toggle = n.avoid > 0 && el("button", { type: "button", click: () => { this.cross = !this.cross; this.#changed(); } }, t(this.cross ? "filter.hide" : "filter.show"));
    replace(this.#note, el("p", {}, text, " ", el("strong", {}, t("filter.rest"))), toggle && el("p", {}, toggle));
    if (focused && toggle) toggle.focus();
  }
}
