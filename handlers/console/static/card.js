// One dish, for a guest who has to decide whether to order it.
import { el, link, put, replace, say } from "./dom.js";
import { data, stages } from "./model.js";

const waiting = (stage) => stage.status === "pending" || stage.status === "retrying";

// card fills the dialog; retry(stage) asks for another try of a failed stage.
export function card(dialog, dish, session, retry) {
  const close = el("button", { type: "button", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => dialog.close());
  const translation = data(dish, "translation");
  const lang = session.source || null;
  // The card is made anew while somebody reads it: what they opened, where they are and the focus stay.
  const before = { focus: dialog.contains(document.activeElement), top: dialog.scrollTop, details: dialog.querySelector("details")?.open };
  replace(
    dialog,
    el(
      "article",
      { class: "card" },
      el("header", {}, el("h2", { id: "card-title", dir: "auto" }, translation?.translation || dish.name), close),
      el("p", { class: "original" }, el("span", { lang, dir: "auto" }, dish.name), dish.price && " · ", el("span", { dir: "auto" }, dish.price)),
      translation?.literal && el("p", { class: "hint" }, `Word for word: ${translation.literal}`),
      description(dish),
      allergens(dish, lang),
      ingredients(dish),
      diet(dish),
      pronunciation(dish, lang),
      taste(dish),
      pictures(dish),
      failures(dish, retry),
      sources(dish),
    ),
  );
  if (before.focus) close.focus({ preventScroll: true });
  if (before.details && dialog.querySelector("details")) dialog.querySelector("details").open = true;
  dialog.scrollTop = before.top;
}

// section leaves out what has no content once the stage has answered, and says so while it has not.
function section(title, stage, ...content) {
  if (waiting(stage)) content = [el("p", { class: "hint" }, stage.status === "retrying" ? "Did not work at first; will be tried again." : "Not there yet.")];
  else if (stage.status === "failed") content = [el("p", { class: "hint" }, "This could not be found out.")];
  if (content.flat(Infinity).every((child) => !child)) return null;
  return el("section", {}, el("h3", {}, title), content);
}

function description(dish) {
  const d = data(dish, "description");
  const facts = [d?.serving && !["unknown", "either"].includes(d.serving) && `served ${d.serving === "room" ? "at room temperature" : d.serving}`,
    d?.raw && d.raw !== "unknown" && say(d.raw), d?.region].filter(Boolean);
  return section(
    "What it is",
    dish.stages.description,
    el("p", { dir: "auto" }, d?.description || "Nothing is known about this dish."),
    facts.length > 0 && el("p", {}, facts.map((fact) => el("span", { class: "tag" }, fact))),
    d?.how_to_eat && el("p", { dir: "auto" }, d.how_to_eat),
  );
}

const levels = [["contains", "Contains"], ["likely", "Likely"], ["may_contain", "May contain"]];

// allergens never says that something is not in the dish: what is not known is said to be unknown.
function allergens(dish, lang) {
  const d = data(dish, "allergen");
  const found = d?.allergens ?? [];
  const groups = levels.map(([level, label]) => {
    const of = found.filter((a) => a.level === level);
    return of.length > 0 && el("p", {}, el("strong", {}, `${label}: `),
      of.map((a) => el("span", { class: `tag ${level}` }, say(a.code), a.source_ingredient && a.source_ingredient !== a.code && ` (${a.source_ingredient})`)));
  });
  const others = found.filter((a) => !levels.some(([level]) => level === a.level));
  const listed = section(
    "Allergens",
    dish.stages.allergen,
    groups,
    others.length > 0 && el("p", {}, others.map((a) => el("span", { class: "tag" }, `${say(a.code)}: ${say(a.level)}`))),
    found.length === 0 && el("p", {}, el("strong", {}, "Unknown. "), "That does not mean that there are none: ask the staff."),
    found.length > 0 && d?.completeness !== "recipe" && el("p", {}, "This list is not complete: it rests on the dish's name only."),
    d?.declared_by_restaurant?.length > 0 && el("p", {}, `The menu itself says: ${d.declared_by_restaurant.join(", ")}`),
    d?.ask_staff && el("div", { class: "ask" }, el("p", { class: "hint" }, "Show this to the staff"),
      el("p", { lang: lang === "ja" ? "ja" : null, dir: "auto" }, d.ask_staff.ja), el("p", { dir: "auto" }, d.ask_staff.translated)),
    d?.disclaimer && el("p", { class: "hint" }, d.disclaimer),
  );
  put(listed, el("p", { class: "hint" }, "What is not listed may still be in the dish."));
  return listed;
}

function ingredients(dish) {
  const d = data(dish, "ingredient");
  const list = d?.ingredients ?? [];
  return section(
    "Ingredients",
    dish.stages.ingredient,
    list.length > 0
      ? el("ul", {}, list.map((i) => el("li", {}, el("span", { dir: "auto" }, i.name), i.name_source && [" · ", el("span", { lang: "ja", dir: "auto" }, i.name_source)],
        i.role === "hidden" && el("em", {}, " (not in the name)"), i.certainty === "possible" && " – possibly", i.certainty === "usual" && " – usually")))
      : el("p", {}, "Unknown."),
    d?.cooking_methods?.length > 0 && el("p", {}, d.cooking_methods.map((m) => el("span", { class: "tag" }, say(m)))),
  );
}

function diet(dish) {
  const labels = data(dish, "task6")?.labels ?? [];
  return section(
    "Diet",
    dish.stages.task6,
    labels.length > 0
      ? el("ul", {}, labels.map((l) => el("li", {}, el("strong", {}, `${say(l.code)}: `), say(l.verdict), l.reason && ` (${l.reason})`)))
      : el("p", {}, "Unknown."),
  );
}

function pronunciation(dish, lang) {
  const d = data(dish, "task7");
  const order = d?.order_phrase;
  return section(
    "How to say it",
    dish.stages.task7,
    d?.kana || d?.romaji
      ? el("p", {}, el("span", { lang: "ja" }, d.kana), d.kana && " · ", d.romaji_macron || d.romaji, d.say_it && ` (${d.say_it})`)
      : el("p", {}, "The reading is not known."),
    order?.source && el("div", { class: "ask" }, el("p", { lang, dir: "auto" }, order.source), el("p", {}, order.romaji), el("p", { dir: "auto" }, order.translated)),
  );
}

function taste(dish) {
  const d = data(dish, "task8");
  const tags = [...(d?.taste ?? []), ...(d?.texture ?? []), d?.spiciness > 0 && `spicy ${d.spiciness} of 4`].filter(Boolean);
  return section(
    "Taste",
    dish.stages.task8,
    tags.length > 0 && el("p", {}, tags.map((t) => el("span", { class: "tag" }, say(t)))),
    d?.pairing?.length > 0 && el("p", {}, `Goes with ${d.pairing.join(", ")}`),
    d?.price?.market_price && el("p", {}, "The price changes from day to day: ask."),
  );
}

// pictures are links: the page loads nothing from other hosts.
function pictures(dish) {
  const d = data(dish, "search_engine");
  return section(
    "Pictures",
    dish.stages.search_engine,
    d?.placeholder?.kind === "emoji" && el("p", { class: "emoji", role: "img", "aria-label": d.placeholder.label }, d.placeholder.value),
    (d?.images?.length > 0 || d?.search_links?.length > 0) && el("p", {}, "Example photos, not of this restaurant's dish:"),
    d && el("ul", {}, (d.images ?? []).map((i) => el("li", {}, link(i.page_url || i.url, i.title || "picture"), i.creator && ` by ${i.creator}`, i.license && ` (${i.license})`)),
      (d.search_links ?? []).map((l) => el("li", {}, link(l.url, `Search ${l.engine}`)))),
  );
}

function failures(dish, retry) {
  const failed = stages.filter(([stage]) => dish.stages[stage].status === "failed");
  if (failed.length === 0) return null;
  return el("section", { class: "notice" }, el("p", {}, el("strong", {}, "What did not work")), el("ul", {}, failed.map(([stage, label]) => {
    const again = el("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => {
      again.disabled = true;
      retry(stage);
    });
    return el("li", {}, `${label}: ${say(dish.stages[stage].reason)} `, again);
  })));
}

// sources says what each answer rests on, so that nobody takes a guess for knowledge.
function sources(dish) {
  const rows = stages.flatMap(([stage, label]) => {
    const r = dish.stages[stage].result;
    if (!r) return [];
    const extra = [...(r.warnings ?? []), ...(r.attribution ?? [])].join("; ");
    return [el("dt", {}, label), el("dd", {}, `${say(r.status)}, ${say(r.basis)}, ${Math.round((r.confidence ?? 0) * 100)} % sure, by ${r.provider}`, extra && ` – ${extra}`)];
  });
  return rows.length > 0 && el("details", {}, el("summary", {}, "What these answers rest on"), el("dl", { class: "sources" }, rows));
}
