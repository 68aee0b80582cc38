// Whether somebody is there: idle when the tab is hidden, or nothing was done for some minutes.

const IDLE_AFTER_MS = 3 * 60_000;
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel", "touchstart"];

export class Attention {
  /** `onchange(status)` is called with "idle" and "online" as it changes. */
  constructor(onchange) {
    this.status = "online";
    this.onchange = onchange;
    this.timer = null;
    for (const sign of SIGNS) addEventListener(sign, () => this.look(), { passive: true });
    document.addEventListener("visibilitychange", () => this.look());
    this.look();
  }

  look() {
    clearTimeout(this.timer);
    if (document.hidden) return this.turn("idle");
    this.timer = setTimeout(() => this.turn("idle"), IDLE_AFTER_MS);
    this.turn("online");
  }

  turn(status) {
    if (status === this.status) return;
    this.status = status;
    this.onchange(status);
  }
}
