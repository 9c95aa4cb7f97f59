// The list of dishes: one button a dish, with its eight cells.
import { el, put, replace, shown } from "./dom.js";
import { data, stages } from "./model.js";

// What a cell shows, and what it says.
const marks = {
  pending: ["·", "not answered yet"],
  retrying: ["↻", "failed, will be tried again"],
  ok: ["✓", "answered"],
  partial: ["~", "answered in part"],
  unknown: ["?", "not known"],
  skipped: ["–", "left out"],
  failed: ["!", "failed"],
};

const mark = (status) => marks[status] ?? ["?", status];

export class DishList {
  #root;
  #open;
  #source = "";
  #buttons = new Map(); // by menu_id

  constructor(root, open) {
    this.#root = root;
    this.#open = open;
  }

  // show adds dishes that are new, in the order of the menu, under their headings.
  show(session) {
    this.#source = session.source;
    if (session.dishes.size === this.#buttons.size) return;
    const dishes = [...session.dishes.values()].sort((a, b) => a.position - b.position);
    this.#buttons.clear();
    replace(this.#root);
    let heading = null;
    let list = null;
    for (const dish of dishes) {
      if (heading !== dish.category) {
        heading = dish.category;
        list = el("ul", { class: "dishes" });
        if (heading) put(this.#root, el("h3", { lang: this.#source || null, dir: "auto" }, heading));
        put(this.#root, list);
      }
      const button = this.#button(dish);
      this.#buttons.set(dish.id, button);
      put(list, el("li", {}, button.element));
      this.update(dish);
    }
  }

  #button(dish) {
    const cells = stages.map(([, label]) => el("span", { class: "cell" }, el("span", { class: "sign" }), el("span", { class: "label" }, label)));
    const translation = el("span", { class: "translation", dir: "auto" });
    const summary = el("span", { class: "unseen" });
    const element = el(
      "button",
      { class: "dish", type: "button" },
      el("span", { class: "name", lang: this.#source || null, dir: "auto" }, dish.name),
      el("span", { class: "price", dir: "auto" }, dish.price),
      translation,
      el("span", { class: "cells", "aria-hidden": "true" }, cells),
      summary,
    );
    element.addEventListener("click", () => this.#open(dish.id));
    return { element, cells, translation, summary };
  }

  // update brings one dish up to date.
  update(dish) {
    const button = this.#buttons.get(dish.id);
    if (!button) return;
    let answers = 0;
    let failed = 0;
    stages.forEach(([stage, label], i) => {
      const { status } = dish.stages[stage];
      const [sign, meaning] = mark(status);
      const cell = button.cells[i];
      cell.className = `cell ${/^[a-z]+$/u.test(status) ? status : "unknown"}`;
      cell.firstChild.textContent = sign;
      cell.title = `${label}: ${meaning}`;
      if (status === "failed") failed++;
      else if (status !== "pending" && status !== "retrying") answers++;
    });
    button.translation.textContent = shown(data(dish, "translation")?.translation);
    button.summary.textContent = `. ${answers} of ${stages.length} answers${failed ? `, ${failed} failed` : ""}. Open.`;
  }
}

// legend explains the cells.
export function legend(root) {
  replace(
    root,
    el("p", {}, `From left to right: ${stages.map(([, label]) => label).join(", ")}.`),
    el("dl", {}, Object.entries(marks).map(([status, [sign, meaning]]) => [el("dt", { class: `cell ${status}` }, sign), el("dd", {}, meaning)])),
  );
}
