// One user's socket: finds its gateway, and finds it again whenever it is gone or has changed.
// The one rule: one socket at a time is listened to, and a new one goes on exactly where that one ended.

import { candidates, reachable, remember } from "./gateways.js";

const ANSWER_MS = 5000;
const OPEN_MS = 5000;
const WAIT_MIN_MS = 250;
const WAIT_MAX_MS = 8000;
const LEFT = 1000; // close codes
const REFUSED = 1008;

export class Connection {
  #socket = null;
  #finish = () => {}; // ends the socket that is listened to
  #wake = () => {}; // ends the waiting for the next attempt
  #heard = true;
  #over = false;

  /**
   * `where()` tells what to connect as: {user, guild, position}. `onevent(event)` gets all that comes; what it gives
   * back for a first message tells whether we are in ("gap": begin afresh). `onstate(state, detail)`: "finding",
   * "connecting" and "open" with an address, "waiting", and at last "over" with a reason, or none after leaving.
   */
  constructor({ where, onevent, onstate }) {
    Object.assign(this, { where, onevent, onstate });
    this.#run();
  }

  /** Send an op now; false where there is no connection. */
  send(op) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(op));
    return true;
  }

  close() {
    this.#over = true;
    this.#finish({ code: LEFT });
    this.#socket?.close(LEFT);
    this.#wake();
  }

  /** Begin anew with another socket. */
  reconnect() {
    this.#finish({ code: 0 });
    this.#wake();
  }

  /** Called from time to time, each time after something was asked for: who has not heard anything since is cut off. */
  check() {
    if (!this.#heard) this.reconnect();
    this.#heard = false;
  }

  async #run() {
    let url = null;
    let last = null;
    let failed = 0;
    while (!this.#over) {
      url ??= await this.#find(last);
      const end = url ? await this.#live(url) : {};
      if (this.#over) return;
      if (end.code === LEFT || end.code === REFUSED) return this.#end(end.reason);
      failed = end.ready ? 0 : failed + 1;
      last = url ?? last;
      url = end.move ?? null;
      if (!url) await this.#wait(failed);
    }
  }

  /** Ask the gateways, one after the other, where we belong: its address, or null when none answers. */
  async #find(last) {
    this.onstate("finding");
    for (const base of candidates(last)) {
      const answer = await ask(`${base}/gateway?${new URLSearchParams({ user: this.where().user })}`);
      if (this.#over) return null;
      if (answer?.error) return this.#end(answer.error);
      if (answer) {
        remember(answer.gateways);
        return reachable(answer.url);
      }
    }
    return null;
  }

  /** Live with a socket to the gateway until it ends: {code, reason, ready: were we in, move: where to go on}. */
  #live(url) {
    this.onstate("connecting", url);
    const old = this.#socket; // one that we move away from stays until we are in, so that nobody sees us go
    const socket = new WebSocket(this.#address(url));
    this.#socket = socket;
    this.#heard = true;
    return new Promise((resolve) => {
      let ready = false;
      const late = setTimeout(() => this.#finish({ code: 0 }), OPEN_MS);
      this.#finish = (end) => {
        clearTimeout(late);
        socket.onmessage = socket.onclose = socket.onopen = null;
        if (!end.move) socket.close();
        old?.close();
        resolve({ ...end, ready });
      };
      socket.onopen = () => clearTimeout(late);
      socket.onclose = ({ code, reason }) => this.#finish({ code, reason });
      socket.onmessage = ({ data }) => {
        this.#heard = true;
        const event = JSON.parse(data);
        if (event.t === "MOVE") return this.#finish({ move: reachable(event.url) });
        const what = this.onevent(event);
        if (what === "gap") return this.#finish({ code: 0 });
        if (ready || (what !== "snapshot" && what !== "resumed")) return;
        ready = true;
        old?.close();
        this.onstate("open", url);
      };
    });
  }

  #address(url) {
    const { user, guild, position } = this.where();
    const query = new URLSearchParams({ user, guild, ...position });
    return `${url.replace(/^http/, "ws")}/socket?${query}`;
  }

  /** Wait before the next attempt, longer each time, and not all pages equally long. */
  #wait(failed) {
    this.onstate("waiting");
    const most = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** failed);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, most * (0.5 + Math.random() / 2));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #end(reason = "") {
    this.#over = true;
    this.onstate("over", reason);
    return null;
  }
}

/** The JSON that a gateway answers, also that of a refusal; null when it does not answer. */
async function ask(address) {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS) });
    return response.ok || response.status === 400 ? await response.json() : null;
  } catch {
    return null;
  }
}
