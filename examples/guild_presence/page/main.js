// Puts the page together: login, one connection with what is known of its guild, and the drawing of it.
// The one rule: what comes changes what is known at once; it is drawn at most once a frame.

import { Attention } from "./attention.js";
import { drawMembers, drawMessages, drawTyping } from "./chat.js";
import { Connection } from "./connection.js";
import { byId, oncePerFrame, write } from "./dom.js";
import { learn, nameOf } from "./gateways.js";
import { Guild } from "./guild.js";
import { Panel } from "./panel.js";

const TELL_TYPING_MS = 3000;
const LOOK_MS = 20_000; // how often the gateways are asked for while the panel is closed
const AGAIN_MS = 5000; // a message that has not come back is sent again
const NOTICE_MS = 8000;
const WIDE = matchMedia("(min-width: 1100px)");
const MIDDLE = matchMedia("(min-width: 720px)");

let guild = null;
let connection = null;
let asUser = ""; // what to connect as
let link = { state: "finding", url: "" };
let overview = null;
let toldTyping = -Infinity;
let noticeTimer = null;

const panel = new Panel(command);
const attention = new Attention((status) => connection?.send({ op: "status", status }));

// --- Login and the address

const NAME = /^(?:[^\p{C}\p{Z}]| ){1,32}$/u; // as the gateways have it

/** What is wrong with the names; "" if nothing is. */
function wrong(...names) {
  const good = names.every((name) => NAME.test(name) && name === name.trim());
  return good ? "" : "A name and a guild are needed, of 1 to 32 printable characters each.";
}

function address() {
  const hash = new URLSearchParams(location.hash.slice(1));
  return { user: hash.get("user") ?? "", guild: hash.get("guild") ?? "" };
}

function setAddress(fields) {
  history.replaceState(null, "", `#${new URLSearchParams(fields)}`);
}

function showLogin(error = "") {
  connection?.close();
  connection = guild = overview = null;
  byId("app").hidden = true;
  byId("login").hidden = false;
  const { user, guild: name } = address();
  byId("user").value ||= user;
  byId("guild").value ||= name || "lobby";
  write(byId("login-error"), error);
  document.title = "Guild presence";
  byId("user").focus();
}

function enter({ user, guild: name }) {
  connection?.close();
  guild = new Guild();
  guild.name = name;
  asUser = guild.self = user;
  byId("login").hidden = true;
  byId("app").hidden = false;
  document.title = `${name} · Guild presence`;
  connection = new Connection({
    where: () => ({ user: asUser, guild: name, position: guild.position }),
    onevent: hear,
    onstate: showConnection,
  });
  layOut();
  byId("text").focus();
}

function start() {
  const to = address();
  if (!to.user || !to.guild) return showLogin();
  const error = wrong(to.user, to.guild);
  if (error) showLogin(error);
  else enter(to);
}

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const to = { user: byId("user").value.trim(), guild: byId("guild").value.trim() };
  const error = wrong(to.user, to.guild);
  if (error) return showLogin(error);
  setAddress(to);
  enter(to);
});

addEventListener("hashchange", () => {
  const to = address();
  if (!guild || to.user !== asUser || to.guild !== guild.name) start();
});

// --- What comes

const UNNUMBERED = {
  OVERVIEW(event) {
    overview = event;
    learn(event.nodes);
    if (byId("panel").hidden) connection.send({ op: "overview", on: false });
  },
  RESULT: ({ text }) => notice(text),
  ERROR: ({ text }) => notice(text),
};

function hear(event) {
  const what = guild.apply(event, Date.now());
  if (what === "other") UNNUMBERED[event.t]?.(event);
  if (what === "snapshot" || what === "resumed") settle();
  if (guild.self !== asUser) {
    asUser = guild.self;
    setAddress({ user: asUser, guild: guild.name });
  }
  redraw();
  return what;
}

/** We are in, perhaps again: say what this socket or this guild may not know. */
function settle() {
  if (attention.status === "idle") connection.send({ op: "status", status: "idle" });
  connection.send({ op: "overview", on: true });
  sendPending(0);
}

function sendPending(olderThan) {
  for (const { nonce, text, at } of guild.pending) {
    if (Date.now() - at * 1000 >= olderThan) connection.send({ op: "message", text, nonce });
  }
}

function showConnection(state, detail = "") {
  if (state === "over") return showLogin(detail);
  link = { state, url: detail };
  redraw();
}

// --- What is done

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = byId("text").value.trim();
  const text = typed.toWellFormed?.() ?? typed; // half a character is none, and would be refused
  if (!text) return;
  const nonce = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
  if (!guild.post(nonce, text, Date.now() / 1000)) return notice("Too many messages are on their way.");
  connection.send({ op: "message", text, nonce });
  byId("text").value = "";
  toldTyping = -Infinity;
  byId("messages").scrollTop = byId("messages").scrollHeight;
  redraw();
});

byId("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

byId("text").addEventListener("input", () => {
  if (!byId("text").value || performance.now() - toldTyping < TELL_TYPING_MS) return;
  toldTyping = performance.now();
  connection.send({ op: "typing" });
});

byId("leave").addEventListener("click", () => connection.send({ op: "leave" }));

byId("rename").addEventListener("click", () => {
  byId("nick").value = guild.self;
  byId("nick-dialog").showModal();
  byId("nick").select();
});
byId("nick-cancel").addEventListener("click", () => byId("nick-dialog").close());
byId("nick-form").addEventListener("submit", () => {
  const to = byId("nick").value.trim();
  if (to && to !== guild.self) connection.send({ op: "nick", to });
});

function command(what, node) {
  const asked = connection.send({ op: "command", do: what, node });
  notice(asked ? `Asked to ${what} ${node} …` : "Not connected now; try again in a moment.");
}

/** Show the columns that there is room for. */
function layOut() {
  show("members", MIDDLE.matches);
  show("panel", WIDE.matches);
  redraw();
}

function show(part, on) {
  byId(part).hidden = !on;
  byId(`show-${part}`).setAttribute("aria-expanded", String(on));
  if (part === "panel" && on) connection?.send({ op: "overview", on: true });
}

for (const part of ["members", "panel"]) {
  byId(`show-${part}`).addEventListener("click", () => {
    const on = byId(part).hidden;
    if (on && !WIDE.matches) show(part === "members" ? "panel" : "members", false);
    show(part, on);
    redraw();
  });
}

for (const room of [WIDE, MIDDLE]) room.addEventListener("change", layOut);

byId("skip").addEventListener("click", () => {
  if (!MIDDLE.matches) layOut();
  byId("text").focus();
});

// --- Drawing

const LINK = {
  finding: () => "Looking for a gateway …",
  connecting: (name) => `Connecting to ${name} …`,
  open: (name) => `Connected to ${name}`,
  waiting: () => "Reconnecting …",
};

const redraw = oncePerFrame(() => {
  if (!guild) return;
  const gateway = link.url && nameOf(link.url);
  byId("connection").dataset.state = link.state;
  write(byId("connection"), LINK[link.state](gateway));
  byId("leave").disabled = byId("rename").disabled = link.state !== "open";
  write(byId("guild-name"), guild.name);
  write(byId("self"), guild.self);
  for (const name of ["epoch", "seq"]) write(byId(`count-${name}`), String(guild[name] ?? "–"));
  for (const [name, count] of Object.entries(guild.counts)) write(byId(`count-${name}`), String(count));
  if (!byId("members").hidden) drawMembers(guild);
  drawMessages(guild);
  drawTyping(guild.typists(Date.now()));
  if (overview && !byId("panel").hidden) panel.draw(overview, { gateway, guild: guild.name });
});

function notice(text) {
  clearTimeout(noticeTimer);
  byId("notice").textContent = text;
  noticeTimer = setTimeout(() => write(byId("notice"), ""), NOTICE_MS);
}

setInterval(() => {
  if (guild?.typing.size) redraw();
}, 1000);
setInterval(() => guild && sendPending(AGAIN_MS), AGAIN_MS);
setInterval(() => {
  if (!connection?.send({ op: "overview", on: true })) return;
  connection.check();
}, LOOK_MS);
addEventListener("online", () => connection?.reconnect());

start();
