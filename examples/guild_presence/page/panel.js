// Draws the cluster as each OVERVIEW has it, and asks for nodes to be added, stopped and killed.
// The one rule: what is drawn again keeps its elements, so that a button stays where it is, focus and all.

import { arrange, byId, make, write } from "./dom.js";
import { RingView, colourOf } from "./ring.js";

const HISTORY = 120; // overviews, one a second
const HEIGHT = 28;
const GUILDS_SHOWN = 6;

export class Panel {
  /** `ask(what, node)` asks the gateway to add, stop or kill. */
  constructor(ask) {
    this.element = byId("panel");
    this.history = [];
    this.cards = new Map(); // name of a node -> its elements
    this.rings = {};
    for (const place of this.element.querySelectorAll(".role")) {
      this.rings[place.dataset.role] = new RingView(place.querySelector(".ring"), place.querySelector("h3").textContent);
    }
    this.element.addEventListener("click", ({ target }) => {
      const button = target.closest("button[data-do]");
      if (button) ask(button.dataset.do, button.dataset.node);
    });
  }

  /** Draw it; `gateway` is the address of ours, `guild` the name of our guild. */
  draw(overview, { gateway, guild }) {
    this.#figures(overview);
    const names = new Set(overview.nodes.map((node) => node.name));
    for (const name of this.cards.keys()) if (!names.has(name)) this.cards.delete(name);
    for (const place of this.element.querySelectorAll(".role")) {
      const { role } = place.dataset;
      const nodes = overview.nodes.filter((node) => node.role === role);
      const ours = (node) => (role === "gateway" ? node.name === gateway : node.guilds.includes(guild));
      arrange(place.querySelector(".nodes"), nodes.map((node) => this.#card(node, ours(node))));
      this.rings[role].draw(overview.rings[role], overview.arcs[role]);
    }
  }

  #figures({ deliveries_per_s: deliveries, events_per_s: events, handoffs_per_event: handoffs }) {
    write(byId("deliveries"), rate(deliveries));
    write(byId("events"), rate(events));
    if (handoffs !== null) write(byId("handoffs"), handoffs.toFixed(2));
    this.history.push(deliveries);
    if (this.history.length > HISTORY) this.history.shift();
    const top = Math.max(10, ...this.history);
    const from = HISTORY - this.history.length;
    const points = this.history.map((value, index) => `${from + index},${(HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1)}`);
    const [area, line] = byId("history").children;
    line.setAttribute("points", points.join(" "));
    area.setAttribute("points", [`${from},${HEIGHT}`, ...points, `${HISTORY - 1},${HEIGHT}`].join(" "));
  }

  #card(node, ours) {
    if (!this.cards.has(node.name)) this.cards.set(node.name, newCard(node));
    const card = this.cards.get(node.name);
    card.element.dataset.state = node.state;
    write(card.state, node.state);
    write(card.ours, ours ? (node.role === "gateway" ? "you are here" : "your guild") : "");
    write(card.holds, holds(node));
    write(card.rates, works(node));
    for (const button of card.buttons) button.disabled = node.state !== "up";
    return card.element;
  }
}

function newCard({ name, url, pid }) {
  const card = { state: make("span", "state"), ours: make("span", "ours"), holds: make("p"), rates: make("p", "muted") };
  card.buttons = ["stop", "kill"].map((what) => command(what, name));
  const swatch = make("span", "swatch");
  swatch.style.background = colourOf(name);
  const head = make("div", "head", [swatch, make("h4", "", name), card.state, card.ours]);
  const where = make("p", "muted", [url ? `${new URL(url).host} · ` : "", `pid\u00a0${pid}`]);
  card.element = make("li", "node", [head, card.holds, card.rates, make("div", "foot", [where, ...card.buttons])]);
  card.element.dataset.name = name;
  return card;
}

function command(what, name) {
  const button = make("button", what, what === "stop" ? "Stop" : "Kill");
  button.type = "button";
  button.setAttribute("aria-label", `${button.textContent} ${name}`);
  Object.assign(button.dataset, { do: what, node: name });
  return button;
}

function holds(node) {
  if (node.role === "gateway") return `${node.sessions} ${node.sessions === 1 ? "socket" : "sockets"}`;
  const more = node.guild_count - Math.min(GUILDS_SHOWN, node.guilds.length);
  const names = node.guilds.slice(0, GUILDS_SHOWN).join(", ");
  const counted = `${node.guild_count} ${node.guild_count === 1 ? "guild" : "guilds"}`;
  return names ? `${counted}: ${names}${more > 0 ? ` and ${more} more` : ""}` : counted;
}

function works(node) {
  const rates = [`${rate(node.deliveries_per_s)} deliveries/s`, `${rate(node.events_per_s)} events/s`];
  if (node.handoffs_per_event !== null) rates.push(`${node.handoffs_per_event.toFixed(2)} sends/event`);
  return rates.join(" · ");
}

function rate(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}
