// Calls the API. A key, once entered, is kept in this tab and sent with every call.

const slot = "kondate.key";

export const key = () => sessionStorage.getItem(slot) ?? "";

export function keepKey(value) {
  if (value) sessionStorage.setItem(slot, value);
  else sessionStorage.removeItem(slot);
}

export const headers = () => (key() ? { Authorization: `Bearer ${key()}` } : {});

// Refused is an answer that is an error: its status, and the problem that the server reports (RFC 9457).
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

// open returns the response, or throws a Refused, or what fetch throws when nobody answers.
export async function open(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (response.ok) return response;
  throw new Refused(response.status, await response.json().catch(() => null));
}

// call returns the JSON that the server answers with.
export async function call(path, options) {
  return (await open(path, options)).json();
}

// post sends JSON.
export function post(path, body, more = {}) {
  return call(path, { method: "POST", headers: { "Content-Type": "application/json", ...more }, body: typeof body === "string" ? body : JSON.stringify(body) });
}

// randomKey also works where the page has no secure context, and crypto no randomUUID.
export const randomKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
