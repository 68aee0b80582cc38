// The addresses of the gateways that are known, for when one's own has gone; kept for as long as the tab is open.

const KEY = "gateways";

const known = load(); // address -> name

function load() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}

function store() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...known]));
  } catch {
    // A browser without storage: what is in memory has to do.
  }
}

/** A gateway's address as it can be reached from here: one that serves on every address of its machine names none. */
export function reachable(url) {
  const address = new URL(url);
  if (["0.0.0.0", "[::]"].includes(address.hostname)) address.hostname = location.hostname;
  return address.origin;
}

/** Remember the gateways that one of them tells of, and those of before: it may be alone because it is cut off. */
export function remember(gateways) {
  for (const [name, url] of Object.entries(gateways)) known.set(reachable(url), name);
  store();
}

/** Know exactly the gateways of an OVERVIEW. */
export function learn(nodes) {
  const up = nodes.filter((node) => node.role === "gateway" && node.state === "up");
  if (up.length === 0) return;
  known.clear();
  remember(Object.fromEntries(up.map(({ name, url }) => [name, url])));
}

/** Addresses to ask, the best first: that of before, the one this page is from, the others in any order. */
export function candidates(last) {
  const others = [...known.keys()].sort(() => Math.random() - 0.5);
  return [...new Set([last, location.origin, ...others])].filter(Boolean);
}

export function nameOf(url) {
  return known.get(url) ?? new URL(url).host;
}
