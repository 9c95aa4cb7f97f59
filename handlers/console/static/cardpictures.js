// Example photos of a dish with their credit, and the card of it to print.
import { key, open } from "./api.js";
import { el, link, shown } from "./dom.js";
import { t } from "./i18n.js";
import { data } from "./model.js";
import { section } from "./section.js";

// Hosts that the page's policy lets the browser ask for a photo; one from elsewhere is a link.
const hosts = ["upload.wikimedia.org", "live.staticflickr.com", "api.openverse.org"];

export function picture(dish, lang, actions) {
  const d = data(dish, "search_engine");
  const images = d?.images ?? [];
  return [
    section(
      t("card.pictures"),
      dish.stages.search_engine,
      images.length > 0 && el("p", { class: "hint" }, t("card.example")),
      images.length > 0 && el("ul", { class: "photos" }, images.map((image) => el("li", {}, photo(image, lang)))),
      d?.search_links?.length > 0 && el("p", { class: "links" }, d.search_links.map((l) => link(l.url, t("card.search", { engine: shown(l.engine) })))),
    ),
    toPrint(dish, actions),
  ];
}

function photo(image, lang) {
  const address = [image.thumbnail_url, image.url].find((url) => url && hosts.includes(hostOf(url)));
  const credit = [image.attribution || [image.title, image.creator].filter(Boolean).join(", "), !image.attribution && image.license].filter(Boolean).map(shown).join(" · ");
  return el("figure", {},
    address && el("img", { src: address, alt: shown(image.title), lang, loading: "lazy", decoding: "async", referrerpolicy: "no-referrer", error: (event) => event.target.remove() }),
    el("figcaption", {}, link(image.page_url || image.url, credit || shown(image.source)), image.license_url && [" · ", link(image.license_url, shown(image.license))]));
}

function hostOf(url) {
  try {
    const { protocol, hostname } = new URL(url);
    return protocol === "https:" ? hostname : "";
  } catch {
    return "";
  }
}

// toPrint offers the printable card, which is made when it is asked for.
function toPrint(dish, { past, path, image, token }) {
  if (past) return null;
  const state = dish.image?.status;
  const status = el("p", { role: "status", class: "hint" }, state === "requested" && t("card.making"), state === "failed" && t("card.imagefailed", { why: shown(dish.image.reason) }));
  const make = el("button", {
    type: "button",
    "data-f": "image",
    disabled: state === "requested",
    click: async () => {
      make.disabled = true;
      const why = await image();
      status.textContent = why ? t("card.imagefailed", { why }) : t("card.making");
      make.disabled = !why;
    },
  }, t(dish.image?.ready ? "card.anew" : "card.print"));
  return el("section", { class: "toprint" },
    dish.image?.ready && el("p", { class: "links" }, t("card.ready"), " ", file(path, "png", dish, token), " ", file(path, "svg", dish, token)), el("p", {}, make), status);
}

// file is a link to the printable card. A link carries a token, but no key, so with a key the page fetches the file itself.
function file(path, kind, dish, token) {
  const address = `${path}/image.${kind}?${new URLSearchParams({ epoch: dish.image.epoch, ...(token && { token }) })}`;
  return el("a", {
    href: address,
    target: "_blank",
    rel: "noopener",
    "data-f": kind,
    click: async (event) => {
      if (!key()) return;
      event.preventDefault();
      const made = URL.createObjectURL(await (await open(address)).blob());
      el("a", { href: made, download: `${dish.id}.${kind}` }).click();
      setTimeout(() => URL.revokeObjectURL(made), 60000);
    },
  }, kind.toUpperCase());
}
