// Draws a guild: its members, messages, and who is typing. Elements stay as long as what they show does.

import { arrange, byId, hueOf, make, write } from "./dom.js";

const STATUSES = ["online", "idle", "offline"];
const ROWS_MAX = 1000; // of members, by status
const NAMES_MAX = 3; // in a line that tells of many
const READ_OUT_MAX = 10; // of new messages, by a screen reader
const FOLLOWS_S = 300; // a message follows another one of the same user when it comes within

const rows = new Map(); // name -> its row among the members
const lines = new WeakMap(); // message -> its line

const list = byId("messages");
const newest = byId("newest");

export function drawMembers(guild) {
  const names = { online: [], idle: [], offline: [] };
  for (const [user, status] of guild.members) names[status]?.push(user);
  for (const user of rows.keys()) if (!guild.members.has(user)) rows.delete(user);
  for (const status of STATUSES) drawStatus(status, names[status].sort(), guild.self);
}

function drawStatus(status, names, self) {
  const shown = names.slice(0, ROWS_MAX).map((user) => row(user, status, user === self));
  if (names.length > ROWS_MAX) shown.push(make("li", "muted", `and ${names.length - ROWS_MAX} more`));
  const title = byId(`${status}-title`);
  title.hidden = names.length === 0;
  write(title, `${status} — ${names.length}`);
  arrange(byId(status), shown);
}

function row(user, status, own) {
  if (!rows.has(user)) rows.set(user, make("li", "", [avatar(user), make("span", "name", user), make("span", "status")]));
  const element = rows.get(user);
  if (element.dataset.status !== status) {
    element.dataset.status = status;
    element.title = `${user}: ${status}`;
  }
  write(element.lastChild, own ? "you" : "");
  return element;
}

function avatar(user) {
  const element = make("span", "avatar", [...user][0].toUpperCase());
  element.style.setProperty("--hue", hueOf(user));
  element.setAttribute("aria-hidden", "true");
  return element;
}

export function drawMessages(guild) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const before = list.lastElementChild;
  const pending = guild.pending.map((message) => ({ message, user: guild.self }));
  const entries = guild.messages.map((message) => ({ message, user: message.user ?? "" }));
  const wanted = [...entries, ...pending].map(({ message, user }, index, all) => {
    const element = line(message, user, guild.self);
    element.classList.toggle("follows", follows(message, user, all[index - 1]));
    return element;
  });
  const added = wanted.reduce((sum, element) => sum + !element.isConnected, 0);
  list.ariaLive = added > READ_OUT_MAX ? "off" : "polite";
  arrange(list, wanted);
  if (atEnd) scrollToEnd();
  else if (before !== list.lastElementChild) newest.hidden = false;
}

function line(message, user, self) {
  if (!lines.has(message)) lines.set(message, message.text === undefined ? note(message) : said(message, user));
  const element = lines.get(message);
  element.classList.toggle("mine", user === self);
  return element;
}

function said(message, user) {
  const time = make("time", "", clock(message.at));
  time.dateTime = new Date(message.at * 1000).toISOString();
  const head = make("div", "head", [make("span", "name", user), time]);
  const element = make("li", "said", [avatar(user), head, make("p", "text", message.text)]);
  if (message.t === undefined) {
    element.classList.add("pending");
    head.append(make("span", "on-its-way", "sending …"));
  }
  return element;
}

const NOTES = {
  JOIN: ({ users }) => `${some(users)} joined the guild`,
  LEAVE: ({ user }) => `${user} left the guild`,
  NICK: ({ user, to }) => `${user} is now ${to}`,
  AFRESH: () => "The guild was read afresh",
};

function note(message) {
  return make("li", "note", NOTES[message.t](message));
}

function follows(message, user, last) {
  return last?.user === user && message.at - last.message.at < FOLLOWS_S; // false for notes, which have no time
}

function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** "a", "a and b", "a, b, c and 7 others" */
function some(names) {
  if (names.length === 1) return names[0];
  const most = names.length > NAMES_MAX + 1 ? NAMES_MAX : names.length - 1;
  const rest = names.length - most;
  return `${names.slice(0, most).join(", ")} and ${rest === 1 ? names.at(-1) : `${rest} others`}`;
}

export function drawTyping(users) {
  if (users.length > NAMES_MAX) write(byId("typing"), "Several people are typing …");
  else if (users.length === 0) write(byId("typing"), "");
  else write(byId("typing"), `${some(users)} ${users.length === 1 ? "is" : "are"} typing …`);
}

function scrollToEnd() {
  list.scrollTop = list.scrollHeight;
  newest.hidden = true;
}

newest.addEventListener("click", scrollToEnd);
list.addEventListener("scroll", () => {
  if (list.scrollHeight - list.scrollTop - list.clientHeight < 40) newest.hidden = true;
});
