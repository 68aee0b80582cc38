// What is known of a guild: its members and messages, as its events tell them, and what of ours is on its way.
// The one rule: no page, no network and no clock in here. Every numbered event counts exactly once: one that was
// seen is left out, and where one is missing that is counted and told.

export const MESSAGES_MAX = 300;
export const PENDING_MAX = 50;
export const TYPING_MS = 5000;

export class Guild {
  constructor() {
    this.name = "";
    this.self = ""; // our own name
    this.epoch = null;
    this.seq = null;
    this.members = new Map(); // name -> "online", "idle" or "offline"
    this.messages = []; // the latest, and who came, went or was renamed between them
    this.pending = []; // ours that have not come back: {nonce, text, at}
    this.typing = new Map(); // name -> until when, ms
    this.counts = { events: 0, gaps: 0, repeats: 0, resumes: 0, snapshots: 0 };
  }

  /** Where to go on after a reconnect: {epoch, seq}, or null to begin afresh. */
  get position() {
    return this.epoch === null ? null : { epoch: this.epoch, seq: this.seq };
  }

  /** Take what came through the socket. Tells what it was: "snapshot", "resumed", "event", "repeat", "gap" or "other". */
  apply(event, now) {
    if (event.t === "SNAPSHOT") return this.#begin(event);
    if (event.t === "RESUMED") return this.#resume(event);
    if (typeof event.seq !== "number") return "other";
    if (event.epoch === this.epoch && event.seq <= this.seq) {
      this.counts.repeats += 1;
      return "repeat";
    }
    if (event.epoch !== this.epoch || event.seq !== this.seq + 1) return this.#lost();
    this.seq = event.seq;
    this.counts.events += 1;
    HAPPENS[event.t]?.(this, event, now);
    return "event";
  }

  /** Have a message of ours wait until it comes back; false when too many do. */
  post(nonce, text, at) {
    if (this.pending.length >= PENDING_MAX) return false;
    this.pending.push({ nonce, text, at });
    return true;
  }

  /** Who is typing, besides ourselves. */
  typists(now) {
    for (const [user, until] of this.typing) if (until <= now) this.typing.delete(user);
    return [...this.typing.keys()].filter((user) => user !== this.self);
  }

  #begin({ guild, user, epoch, seq, members, messages }) {
    const again = this.counts.snapshots > 0;
    Object.assign(this, { name: guild, self: user, epoch, seq });
    this.members = new Map(members);
    this.messages = messages.slice(-MESSAGES_MAX);
    if (again) keep(this, { t: "AFRESH" });
    this.typing.clear();
    const back = new Set(messages.map((message) => message.nonce));
    this.pending = this.pending.filter(({ nonce }) => !back.has(nonce));
    this.counts.snapshots += 1;
    return "snapshot";
  }

  #resume({ guild, user, epoch, seq }) {
    if (epoch !== this.epoch || seq !== this.seq) return this.#lost();
    Object.assign(this, { name: guild, self: user });
    this.counts.resumes += 1;
    return "resumed";
  }

  #lost() {
    this.counts.gaps += 1;
    this.epoch = this.seq = null;
    return "gap";
  }
}

const HAPPENS = {
  JOIN(guild, { members }) {
    for (const [user, status] of members) guild.members.set(user, status);
    keep(guild, { t: "JOIN", users: members.map(([user]) => user) });
  },

  PRESENCE_UPDATE(guild, { members }) {
    for (const [user, status] of members) {
      guild.members.set(user, status);
      if (status === "offline") guild.typing.delete(user);
    }
  },

  LEAVE(guild, { user }) {
    guild.members.delete(user);
    guild.typing.delete(user);
    keep(guild, { t: "LEAVE", user });
  },

  NICK(guild, { user, to }) {
    if (user === to) return;
    guild.members.set(to, guild.members.get(user) ?? "online");
    guild.members.delete(user);
    guild.typing.delete(user);
    if (user === guild.self) guild.self = to;
    keep(guild, { t: "NICK", user, to });
  },

  TYPING_START(guild, { user }, now) {
    guild.typing.set(user, now + TYPING_MS);
  },

  MESSAGE_CREATE(guild, event) {
    guild.typing.delete(event.user);
    guild.pending = guild.pending.filter(({ nonce }) => nonce !== event.nonce);
    keep(guild, event);
  },
};

function keep(guild, entry) {
  guild.messages.push(entry);
  if (guild.messages.length > MESSAGES_MAX) guild.messages.shift();
}
