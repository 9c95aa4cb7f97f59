// Reads and writes the part of the address behind #: /s/<session>, /s/<session>/d/<dish>, with ?token= where a stream has one.

const decode = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

// read returns {session, dish, token}, each "" where there is none.
export function read(hash) {
  const [path, query = ""] = hash.replace(/^#/u, "").split("?");
  const found = /^\/s\/([^/]+)(?:\/d\/([^/]+))?\/?$/u.exec(path);
  return { session: decode(found?.[1] ?? ""), dish: decode(found?.[2] ?? ""), token: found ? new URLSearchParams(query).get("token") ?? "" : "" };
}

// write is the inverse of read.
export function write({ session, dish = "", token = "" }) {
  if (!session) return "#/";
  return `#/s/${encodeURIComponent(session)}${dish ? `/d/${encodeURIComponent(dish)}` : ""}${token ? `?${new URLSearchParams({ token })}` : ""}`;
}

// tokenOf returns the token of a stream's address, "" if it has none.
export const tokenOf = (url) => new URLSearchParams(String(url ?? "").split("?")[1] ?? "").get("token") ?? "";
