// Draws a ring as a circle: each node's arcs in its colour, and a legend with the shares.

import { arrange, draw, make, write } from "./dom.js";

const COLOURS = 8; // as many as style.css has
const CENTRE = 60;
const RADIUS = 48;

/** A node's colour is that of its number: gateway-3 and guilds-3 have the third, wherever they are drawn. */
export function colourOf(name) {
  return `var(--node-${(Number(/\d+$/.exec(name)?.[0] ?? 1) - 1) % COLOURS})`;
}

export class RingView {
  constructor(place, title) {
    this.svg = draw("svg", { viewBox: "0 0 120 120", role: "img" });
    this.title = title;
    this.legend = make("ul", "legend");
    this.paths = new Map(); // name -> its arcs
    this.entries = new Map(); // name -> its line in the legend
    place.append(this.svg, this.legend);
  }

  /** `shares`: [name, 0..1] each; `owners`: for each degree the index of its node. */
  draw(shares, owners) {
    const names = shares.map(([name]) => name);
    arrange(this.svg, names.map((name, index) => this.#arcs(name, runs(owners, index))));
    arrange(this.legend, shares.map(([name, share]) => this.#entry(name, share)));
    const told = shares.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}: ${told}`);
  }

  #arcs(name, arcs) {
    if (!this.paths.has(name)) this.paths.set(name, draw("path", { class: "arcs" }));
    const path = this.paths.get(name);
    path.style.stroke = colourOf(name);
    const d = arcs.map(([from, to]) => arc(from, to)).join("");
    if (path.getAttribute("d") !== d) path.setAttribute("d", d);
    return path;
  }

  #entry(name, share) {
    if (!this.entries.has(name)) {
      const swatch = make("span", "swatch");
      swatch.style.background = colourOf(name);
      this.entries.set(name, make("li", "", [swatch, make("span", "name", name), make("span", "share")]));
    }
    const entry = this.entries.get(name);
    write(entry.lastChild, percent(share));
    return entry;
  }
}

/** The stretches of degrees that belong to one node, as [from, to] each. */
function runs(owners, index) {
  const found = [];
  for (let from = 0; from < owners.length; from += 1) {
    if (owners[from] !== index) continue;
    let to = from;
    while (to < owners.length && owners[to] === index) to += 1;
    found.push([from, to]);
    from = to;
  }
  return found;
}

function arc(from, to) {
  if (to - from >= 360) return arc(0, 180) + arc(180, 359.99);
  const [x1, y1] = point(from);
  const [x2, y2] = point(to);
  return `M${x1} ${y1}A${RADIUS} ${RADIUS} 0 ${to - from > 180 ? 1 : 0} 1 ${x2} ${y2}`;
}

function point(degree) {
  const angle = ((degree - 90) * Math.PI) / 180;
  return [CENTRE + RADIUS * Math.cos(angle), CENTRE + RADIUS * Math.sin(angle)].map((at) => at.toFixed(2));
}

export function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}
