"""The application, run for all tests of a file, and one Chromium that looks at it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from examples.guild_presence.app.supervisor import Supervisor
from tests.examples.browser.page import Page

REQUIRED = "GUILD_PRESENCE_BROWSER"
"""Set it to "required", and a missing browser is an error: nothing is skipped that was meant to run."""
_ARGUMENTS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
    "window-size=1280,800",
)
NODE_DOWN_AFTER_S = 5.0
"""More than the application waits: on a machine that is busy with other tests a node may be silent for seconds."""
_DONE_S = 60


class Demo:
    """The application on a loop of its own, in a thread; its nodes are processes."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),))
        self._started = Future()
        self._ended = asyncio.Event()

    def __enter__(self):
        self._thread.start()
        self.app = self._started.result()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _live(self):
        try:
            async with Supervisor(gateways=2, guild_nodes=2, port=0, node_down_after_s=NODE_DOWN_AFTER_S) as app:
                self._started.set_result(app)
                await self._ended.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    def add(self, kind):
        return self._do(self.app.add(kind))

    def stop(self, name):
        self._do(self.app.stop(name))

    def kill(self, name):
        self._do(self.app.kill(name))

    def names(self, kind):
        return [name for name in self.app.names if name.startswith(f"{kind}-")]

    def url(self):
        return next(iter(self.app.urls.values()))

    def make_whole(self):
        """Have two nodes of each kind, whatever the test before has done, and every gateway know the others."""
        for kind in ("gateway", "guilds"):
            while len(self.names(kind)) < 2:
                self.add(kind)
        end = time.monotonic() + _DONE_S
        while any(self.ask(url)["gateways"] != self.app.urls for url in self.app.urls.values()):
            assert time.monotonic() < end, "the gateways do not come to know each other"

    def ask(self, url, user="anybody"):
        """Ask a gateway where a user belongs."""
        with urlopen(f"{url}/gateway?{urlencode({'user': user})}", timeout=_DONE_S) as answer:
            return json.load(answer)

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_DONE_S)


@pytest.fixture(scope="module")
def demo():
    with Demo() as demo:
        yield demo


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium with a profile of its own. Without one the tests are skipped, unless it is required."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if not all(programs):
        give_up = pytest.fail if os.environ.get(REQUIRED) == "required" else pytest.skip
        give_up("chromium and chromedriver are not installed; on Debian: apt-get install chromium chromium-driver")
    with _started(*programs, tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@contextmanager
def _started(chromium, chromedriver, profile):
    options = Options()
    options.binary_location = chromium
    for argument in (*_ARGUMENTS, f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def pages(browser, demo):
    """Opens pages, each in a window of its own; none of them may have raised an error."""
    demo.make_whole()
    blank = browser.current_window_handle
    opened = []

    def open_page():
        browser.switch_to.window(blank)
        browser.switch_to.new_window("window")
        opened.append(Page(browser, browser.current_window_handle, demo.url()))
        return opened[-1]

    yield open_page
    errors = [error for page in opened for error in page.close()]
    browser.switch_to.window(blank)
    assert not errors
