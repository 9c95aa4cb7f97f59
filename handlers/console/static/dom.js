// Makes elements. Whatever comes from a menu goes in as text: there is no way here to make HTML of a string.

// Characters that turn the reading direction around: a name could show "nut-free" where it says the opposite.
const overrides = /[\u202a-\u202e\u2066-\u2069]/gu;

export const shown = (text) => String(text ?? "").replace(overrides, "");

// el("p", {class: "hint", lang: "ja"}, "text", element, null): null and false children are left out, as are attributes
// with null or false. A function is called at the event of its name: {click: () => …}.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    element.append(child instanceof Node ? child : shown(child));
  }
}

export function replace(element, ...children) {
  element.textContent = "";
  put(element, ...children);
}

// link leads to another host; anything but http and https is shown as text only.
export function link(url, text) {
  let target;
  try {
    target = new URL(url);
  } catch {
    return el("span", {}, text);
  }
  if (target.protocol !== "https:" && target.protocol !== "http:") return el("span", {}, text);
  return el("a", { href: target.href, target: "_blank", rel: "noopener noreferrer" }, text);
}
