// One dish, for a guest who has to decide whether to order it.
import { allergens } from "./cardallergens.js";
import { picture } from "./cardpictures.js";
import { el, put, replace, shown } from "./dom.js";
import { codeName, list, stageName, t } from "./i18n.js";
import { data, stages } from "./model.js";
import { section } from "./section.js";

// card fills the dialog. Of actions, retry(stage) and image() ask the server for something and say what went wrong, past
// tells that the dish is shown as it was, path is its address.
export function card(dialog, dish, session, actions) {
  // The card is made anew while somebody reads it: what they opened, where they are and the focus stay.
  const same = dialog.dataset.dish === dish.id && dialog.open;
  const before = same && {
    focus: document.activeElement?.closest("#card [data-f]")?.dataset.f, top: dialog.scrollTop, open: [...dialog.querySelectorAll("details[open]")].map((d) => d.dataset.f),
  };
  dialog.dataset.dish = dish.id;
  const source = session.source || null;
  const target = session.target || null;
  const translation = data(dish, "translation");
  const emoji = data(dish, "search_engine")?.placeholder;
  const title = el("h1", { id: "card-title", tabindex: -1, autofocus: true, "data-f": "title", dir: "auto", lang: source }, dish.name);
  replace(
    dialog,
    el(
      "article",
      { class: "card" },
      el("header", {},
        emoji?.value && el("span", { class: "emoji big", role: "img", "aria-label": emoji.label || t("card.pictures") }, emoji.value),
        el("div", { class: "names" }, title, reading(dish), el("p", { class: "translated", dir: "auto", lang: target }, translation?.translation)),
        el("button", { type: "button", class: "plain close", "data-f": "close", "aria-label": t("close"), click: () => dialog.close() }, "✕")),
      actions.past && el("p", { class: "past" }, t("card.past")),
      translation?.literal && translation.literal !== translation.translation && el("p", { class: "hint", lang: target }, t("card.literal", { text: translation.literal })),
      translation?.alternatives?.length > 0 && el("p", { class: "hint", lang: target }, t("card.also", { text: list(translation.alternatives) })),
      description(dish, target),
      allergens(dish, session),
      order(dish, source, target),
      diet(dish, target),
      ingredients(dish, target),
      taste(dish, target),
      picture(dish, target, actions),
      warnings(dish, target),
      failed(dish, actions),
      sources(dish),
    ),
  );
  if (!same) return void (dialog.scrollTop = 0);
  for (const details of dialog.querySelectorAll("details")) details.open = before.open.includes(details.dataset.f);
  if (before.focus) dialog.querySelector(`[data-f="${CSS.escape(before.focus)}"]`)?.focus({ preventScroll: true });
  dialog.scrollTop = before.top;
}

const tags = (items) => items.length > 0 && el("p", { class: "tags" }, items.map((item) => el("span", { class: "tag" }, shown(item))));

function reading(dish) {
  const d = data(dish, "task7");
  if (!d?.kana && !d?.romaji) return null;
  const romaji = d.romaji_macron || d.romaji;
  return el("p", { class: "reading" }, d.kana && el("span", { lang: "ja" }, d.kana), d.kana && romaji && " · ", romaji && el("span", {}, romaji),
    d.say_it && el("span", { class: "say" }, " · ", el("span", { class: "unseen" }, `${t("card.say")}: `), `“${shown(d.say_it)}”`));
}

function description(dish, lang) {
  const d = data(dish, "description");
  const facts = [d?.serving && !["unknown", "either"].includes(d.serving) && codeName(d.serving), d?.raw && d.raw !== "unknown" && codeName(d.raw), d?.region].filter(Boolean);
  return [
    section(t("card.description"), dish.stages.description, el("p", { class: "large", dir: "auto", lang: d?.description ? lang : null }, d?.description || t("card.unknown")), tags(facts)),
    d?.how_to_eat && el("section", {}, el("h2", {}, t("card.eat")), el("p", { dir: "auto", lang }, d.how_to_eat)),
  ];
}

function order(dish, source, target) {
  const phrase = data(dish, "task7")?.order_phrase;
  return section(
    t("card.order"),
    dish.stages.task7,
    phrase?.source
      ? el("div", { class: "show" }, el("p", { class: "big", lang: source, dir: "auto" }, phrase.source), el("p", {}, phrase.romaji), el("p", { class: "hint", dir: "auto", lang: target }, phrase.translated))
      : el("p", { class: "hint" }, t("card.unknown")),
  );
}

// sign of a verdict: yes to a concern is no good news.
function sign({ code, verdict }) {
  if (verdict === "depends") return "△";
  const wanted = ["vegetarian", "vegan", "pescatarian"].includes(code);
  if (verdict === "yes") return wanted ? "✓" : "!";
  if (verdict === "no") return wanted ? "✕" : "–";
  return "?";
}

function diet(dish, lang) {
  const labels = data(dish, "task6")?.labels ?? [];
  return section(
    t("card.diet"),
    dish.stages.task6,
    labels.length > 0
      ? el("ul", { class: "rows" }, labels.map((l) => el("li", {}, el("span", { class: "sign", "aria-hidden": "true" }, sign(l)),
        el("span", {}, el("strong", {}, codeName(l.code)), ": ", codeName(l.verdict), l.reason && el("span", { class: "hint", lang }, ` – ${shown(l.reason)}`)))))
      : el("p", { class: "hint" }, t("card.unknown")),
  );
}

function ingredients(dish, lang) {
  const d = data(dish, "ingredient");
  const found = d?.ingredients ?? [];
  return section(
    t("card.ingredients"),
    dish.stages.ingredient,
    found.length > 0
      ? el("ul", { class: "rows" }, found.map((i) => el("li", {}, el("span", { dir: "auto", lang }, i.name), i.name_source && i.name_source !== i.name && el("span", { class: "hint", lang: "ja", dir: "auto" }, i.name_source),
        el("span", { class: "facts" }, [i.role, i.certainty].filter(Boolean).map(codeName).join(" · ")))))
      : el("p", { class: "hint" }, t("card.unknown")),
    tags((d?.cooking_methods ?? []).map(codeName)),
  );
}

function taste(dish, lang) {
  const d = data(dish, "task8");
  const price = d?.price;
  const facts = [...(d?.taste ?? []), ...(d?.texture ?? [])].map(codeName);
  if (d?.spiciness > 0) facts.push(t("card.spicy", { n: d.spiciness }));
  return [
    section(t("card.taste"), dish.stages.task8, tags(facts), d?.pairing?.length > 0 && el("p", { lang }, t("card.pairing", { text: list(d.pairing.map(shown)) })),
      d && facts.length === 0 && el("p", { class: "hint" }, t("card.unknown"))),
    (dish.price || price?.market_price) && el("section", {}, el("h2", {}, t("card.price")), el("p", { class: "large", dir: "auto" }, dish.price),
      price?.tax_included === true && el("p", { class: "hint" }, t("card.tax")), price?.tax_included === false && el("p", { class: "hint" }, t("card.notax")),
      price?.market_price && el("p", {}, t("card.market"))),
  ];
}

function warnings(dish, lang) {
  const found = new Set(stages.flatMap((stage) => dish.stages[stage].result?.warnings ?? []));
  return found.size > 0 && el("section", {}, el("h2", {}, t("card.warnings")), el("ul", { lang }, [...found].map((w) => el("li", { dir: "auto" }, w))));
}

function failed(dish, actions) {
  const lost = stages.filter((stage) => dish.stages[stage].status === "failed");
  if (lost.length === 0) return null;
  return el("section", { class: "notice" }, el("h2", {}, t("card.failures")), el("ul", { class: "rows" }, lost.map((stage) => {
    const status = el("span", { role: "status" });
    const again = el("button", {
      type: "button",
      "data-f": `retry-${stage}`,
      "aria-label": `${t("card.retry")}: ${stageName(stage)}`,
      click: async () => {
        again.disabled = true;
        status.textContent = await actions.retry(stage);
        again.disabled = false;
      },
    }, t("card.retry"));
    return el("li", {}, el("span", {}, stageName(stage), ": ", shown(codeName(dish.stages[stage].reason)), " ", status), !actions.past && again);
  })));
}

// sources says what each answer rests on, so that nobody takes a guess for knowledge.
function sources(dish) {
  const rows = stages.flatMap((stage) => {
    const r = dish.stages[stage].result;
    if (!r) return [];
    const state = t(`state.${["ok", "partial", "unknown", "skipped"].includes(r.status) ? r.status : "unknown"}`);
    const more = (r.attribution ?? []).join("; ");
    return [el("dt", {}, stageName(stage)), el("dd", {}, [state, codeName(r.basis), t("card.sure", { n: Math.round((r.confidence ?? 0) * 100) }), r.provider, more].filter(Boolean).map(shown).join(" · "))];
  });
  if (rows.length === 0) return null;
  const details = el("details", { "data-f": "sources" }, el("summary", { "data-f": "sources-open" }, t("card.sources")));
  put(details, el("dl", {}, rows));
  return details;
}
