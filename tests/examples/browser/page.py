"""A page in a window of the browser, as its user sees it: what is asserted is what it shows."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import urlencode

from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

LIMIT_S = 60
"""For what takes a moment on an idle machine, and much longer on a loaded one."""

_SEEN = """
const text = (id) => document.getElementById(id).textContent;
const all = (selector, read) => [...document.querySelectorAll(selector)].map(read);
const names = (id) => all(`#${id} .name`, (element) => element.textContent);
return {
  login: !document.getElementById("login").hidden,
  error: text("login-error"),
  guild: text("guild-name"),
  self: text("self"),
  state: document.getElementById("connection").dataset.state,
  connection: text("connection"),
  online: names("online"),
  idle: names("idle"),
  offline: names("offline"),
  said: all(".said:not(.pending)", (line) => [".name", ".text"].map((part) => line.querySelector(part).textContent)),
  pending: all(".said.pending .text", (element) => element.textContent),
  notes: all(".note", (element) => element.textContent),
  typing: text("typing"),
  notice: text("notice"),
  counts: Object.fromEntries(all("#sequence div", ({ children: [of, count] }) => [of.textContent, +count.textContent])),
  nodes: Object.fromEntries(all(".node", (card) => [card.dataset.name, card.dataset.state])),
  rings: all(".legend .name", (element) => element.textContent),
  ours: Object.fromEntries(all(".node", (card) => [card.querySelector(".ours").textContent, card.dataset.name])),
};
"""


class Page:
    """Every method switches to the page's window first."""

    def __init__(self, driver, handle, url):
        self._driver = driver
        self._handle = handle
        self._url = url

    def there(self):
        """Switch to it; give the browser."""
        self._driver.switch_to.window(self._handle)
        return self._driver

    def visit(self, **address):
        """Open the page, with what the address says; wait for nothing."""
        self.there().get("about:blank")  # else a change of the hash alone would load nothing
        self._driver.get(f"{self._url}/#{urlencode(address)}" if address else self._url)
        return self

    def enter(self, user, guild):
        """Open it as a user in a guild, and wait until that is so."""
        self.visit(user=user, guild=guild)
        self.until(lambda seen: seen.state == "open")
        return self

    def seen(self):
        """Give all that it shows at this moment."""
        return SimpleNamespace(**self.run(_SEEN))

    def drawn(self):
        """Give all that it shows when what has happened to it is drawn: that is in the next frame."""
        self.there().execute_async_script("requestAnimationFrame(arguments[0])")
        return self.seen()

    def until(self, holds):
        """Wait until what it shows is so; give that."""
        last = None

        def look(_):
            nonlocal last
            last = self.seen()
            return last if holds(last) else None

        self.there()
        try:
            return WebDriverWait(self._driver, LIMIT_S, poll_frequency=0.05).until(look)
        except TimeoutException:
            raise AssertionError(f"it never came to that; at last: {last}") from None

    def run(self, script, *arguments):
        return self.there().execute_script(script, *arguments)

    def run_module(self, script):
        """Run the body of an async function that may import the page's modules; give what it returns."""
        return self.there().execute_async_script(
            "const [done] = arguments;"
            f"(async () => {{ {script} }})().then(done, (error) => done(`failed: ${{error.stack ?? error}}`));"
        )

    def find(self, selector):
        return self.there().find_element(By.CSS_SELECTOR, selector)

    def click(self, selector):
        """Click, as a user can: it must be there to see."""
        element = self.find(selector)
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def say(self, text):
        self.find("#text").send_keys(text, Keys.ENTER)

    def press(self, *keys):
        """Press keys, wherever the focus is."""
        for key in keys:
            self.there().switch_to.active_element.send_keys(key)

    def focus(self):
        """Tell where the focus is."""
        return self.run("return document.activeElement.id")

    def look(self, width=1280, height=800, scheme="light", motion="no-preference"):
        """Have a screen of a size, and a user who likes it light or dark, and still or not."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        driver = self.there()
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = [{"name": name, "value": value} for name, value in features.items()]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def close(self):
        """Close it; give the errors that its scripts have raised."""
        self.there()
        logged = self._driver.get_log("browser")
        self._driver.close()
        return [entry["message"] for entry in logged if "Uncaught" in entry["message"]]
