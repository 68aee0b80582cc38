"""Two people on the page: they see each other, and go on whatever happens to the nodes behind it."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

_WATCH_STATE = """
const element = document.getElementById("connection");
window.states = [];
new MutationObserver(() => window.states.push(element.dataset.state)).observe(element, { attributes: true });
"""
_WATCH_TYPING = """
const element = document.getElementById("typing");
window.typing = [];
new MutationObserver(() => window.typing.push(element.textContent)).observe(element, { childList: true });
"""
_NEVER_LOOK = """
const { send } = WebSocket.prototype;
WebSocket.prototype.send = function (op) {
  if (JSON.parse(op).op !== "overview") send.call(this, op);
};
"""
HOSTILE = "<img src=x onerror=window.hit=1>"


@pytest.fixture
def two(pages):
    """Gives two pages, of ann and bob in one guild, who see each other."""

    def enter(guild, first="ann", second="bob"):
        ann, bob = pages().enter(first, guild), pages().enter(second, guild)
        for page in (ann, bob):
            page.until(lambda seen: {first, second} <= set(seen.online))
        return ann, bob

    return enter


def owner_of(demo, user):
    return demo.ask(demo.url(), user)["gateway"]


def origin_and_users(demo):
    """Give the gateway that the pages are from, a user who lives on it, and one who does not."""
    gateway = next(iter(demo.app.urls))
    users = [f"user{number}" for number in range(50)]
    here = [owner_of(demo, user) == gateway for user in users]
    return gateway, users[here.index(True)], users[here.index(False)]


def assert_missed_nothing(seen):
    assert (seen.counts["gaps"], seen.counts["repeats"]) == (0, 0)


# What people do.


def test_two_people_see_each_other_come_talk_and_go(two):
    ann, bob = two("talk")
    assert ann.seen().notes[-1] == "bob joined the guild"
    bob.run(_WATCH_TYPING)
    ann.find("#text").send_keys("hel")
    bob.until(lambda _: bob.run("return window.typing[0]") == "ann is typing …")
    ann.press("lo", Keys.ENTER)
    seen = bob.until(lambda seen: seen.said == [["ann", "hello"]])
    assert seen.typing == ""
    bob.say("hi")
    seen = ann.until(lambda seen: seen.said == [["ann", "hello"], ["bob", "hi"]])
    assert seen.pending == []
    bob.visit()
    ann.until(lambda seen: seen.offline == ["bob"])
    assert_missed_nothing(ann.seen())


def test_who_reads_old_messages_is_told_of_new_ones_and_stays_there(two):
    ann, bob = two("scrolled")
    ann.run("document.getElementById('text').value = 'long\\n'.repeat(100)")
    ann.press(Keys.ENTER)
    bob.until(lambda seen: seen.said)
    bob.run("document.getElementById('messages').scrollTop = 0")
    ann.say("new")
    bob.until(lambda seen: len(seen.said) == 2)
    assert bob.run("return document.getElementById('messages').scrollTop") == 0
    bob.click("#newest")
    assert bob.run(
        "const list = arguments[0]; return list.scrollHeight - list.scrollTop - list.clientHeight < 2",
        bob.find("#messages"),
    )
    assert not bob.find("#newest").is_displayed()


def test_typing_is_shown_for_a_few_seconds_only(two):
    ann, bob = two("typing")
    bob.run(_WATCH_TYPING)
    ann.find("#text").send_keys("well")
    bob.until(lambda _: bob.run("return window.typing") == ["ann is typing …", ""])


def test_who_leaves_is_gone_for_good(two):
    ann, bob = two("leave")
    bob.click("#leave")
    bob.until(lambda seen: seen.login)
    seen = ann.until(lambda seen: seen.online == ["ann"])
    assert seen.offline == []
    assert seen.notes[-1] == "bob left the guild"


def test_a_page_in_the_background_is_idle_until_it_is_looked_at_again(two):
    ann, bob = two("idle")
    driver = bob.there()
    before = driver.current_window_handle
    driver.switch_to.new_window("tab")
    ann.until(lambda seen: seen.idle == ["bob"])
    driver.switch_to.window(driver.window_handles[-1])
    driver.close()
    driver.switch_to.window(before)
    ann.until(lambda seen: sorted(seen.online) == ["ann", "bob"] and seen.idle == [])


def test_a_rename_is_seen_by_all_and_kept_by_a_reload(two):
    ann, bob = two("rename")
    bob.click("#rename")
    bob.press("robert", Keys.ENTER)
    seen = ann.until(lambda seen: sorted(seen.online) == ["ann", "robert"])
    assert seen.notes[-1] == "bob is now robert"
    bob.until(lambda seen: seen.self == "robert")
    bob.there().refresh()
    bob.until(lambda seen: seen.state == "open" and seen.self == "robert")
    ann.until(lambda seen: sorted(seen.online) == ["ann", "robert"] and seen.offline == [])


def test_a_name_that_is_taken_is_refused_in_words(two):
    _, bob = two("taken")
    bob.click("#rename")
    bob.press("ann", Keys.ENTER)
    bob.until(lambda seen: "ann" in seen.notice)
    assert bob.seen().self == "bob"


def test_a_second_device_of_a_user_is_the_same_member(two, pages):
    ann, _ = two("devices")
    second = pages().enter("bob", "devices")
    second.say("from my phone")
    ann.until(lambda seen: seen.said == [["bob", "from my phone"]])
    second.visit()
    ann.say("still there?")
    assert ann.until(lambda seen: len(seen.said) == 2).offline == []


def test_hostile_names_and_messages_are_text(two):
    ann, bob = two(HOSTILE, HOSTILE, "bob")
    ann.say(f"{HOSTILE}<script>window.hit=1</script>")
    seen = bob.until(lambda seen: seen.said)
    assert seen.said == [[HOSTILE, f"{HOSTILE}<script>window.hit=1</script>"]]
    assert (seen.guild, seen.online) == (HOSTILE, [HOSTILE, "bob"])
    for page in (ann, bob):
        assert page.run("return document.querySelectorAll('img[src=x], #messages script').length") == 0
        assert page.run("return window.hit === undefined")


def test_half_a_character_is_sent_as_something(two):
    ann, bob = two("surrogates")
    ann.run("document.getElementById('text').value = 'half \\ud83d'")
    ann.press(Keys.ENTER)
    bob.until(lambda seen: seen.said == [["ann", "half \ufffd"]])


@pytest.mark.parametrize("address", [{"user": "ann\u200b", "guild": "lobby"}, {"user": "ann", "guild": "g" * 33}])
def test_a_bad_name_in_the_address_is_told_and_not_tried(pages, address):
    page = pages().visit(**address)
    page.until(lambda seen: seen.login and "32 printable characters" in seen.error)


# What happens behind it.


def test_a_killed_gateway_costs_its_users_nothing_but_a_moment(two, demo):
    gateway, user, other = origin_and_users(demo)
    ann, bob = two("killed-gateway", user, other)
    ann.say("before")
    bob.until(lambda seen: seen.said)
    demo.kill(gateway)  # nothing that comes behind this reaches ann's socket
    bob.say("you missed this")
    seen = ann.until(lambda seen: seen.state == "open" and len(seen.said) == 2)
    assert gateway not in seen.connection
    assert (seen.counts["resumes"], seen.counts["snapshots"]) == (1, 1)
    ann.say("after")
    seen_by_bob = bob.until(lambda seen: len(seen.said) == 3 and sorted(seen.online) == sorted([user, other]))
    assert seen_by_bob.said == ann.until(lambda seen: not seen.pending).said
    assert (seen_by_bob.counts["resumes"], seen_by_bob.counts["snapshots"]) == (0, 1)
    assert seen_by_bob.notes == [f"{other} joined the guild"]
    assert_missed_nothing(seen)
    assert_missed_nothing(seen_by_bob)


def test_who_has_never_seen_the_overview_finds_another_gateway(pages, demo):
    gateway, user, _ = origin_and_users(demo)
    page = pages().visit()
    page.run(_NEVER_LOOK)
    page.find("#user").send_keys(user)
    page.find("#guild").clear()
    page.find("#guild").send_keys("never-looked", Keys.ENTER)
    page.until(lambda seen: seen.state == "open")
    demo.kill(gateway)
    seen = page.until(lambda seen: seen.state == "open" and seen.counts["resumes"] == 1)
    assert gateway not in seen.connection
    assert seen.nodes == {}


def test_a_message_sent_while_the_gateway_is_dead_arrives_once(two, demo):
    gateway, user, other = origin_and_users(demo)
    ann, bob = two("pending", user, other)
    ann.click("#show-panel")
    assert not ann.find("#panel").is_displayed()
    ann.run(_WATCH_STATE)
    demo.kill(gateway)
    ann.until(lambda _: ann.run("return window.states.length > 0"))  # it may be open again already
    ann.say("into the dark")
    seen = ann.drawn()
    assert [*seen.pending, *(text for _, text in seen.said)] == ["into the dark"]
    ann.until(lambda seen: seen.state == "open" and not seen.pending)
    bob.say("last")
    for page in (ann, bob):
        seen = page.until(lambda seen: [other, "last"] in seen.said)
        assert seen.said == [[user, "into the dark"], [other, "last"]]


def test_gateways_are_added_and_stopped_with_buttons_and_users_move(two, demo):
    gateway, user, other = origin_and_users(demo)
    ann, bob = two("buttons", user, other)
    ann.run(_WATCH_STATE)
    before = set(demo.names("gateway"))
    bob.click("[data-do=add][data-node=gateway]")
    bob.until(lambda seen: "has joined" in seen.notice)
    (added,) = set(demo.names("gateway")) - before
    bob.until(lambda seen: seen.nodes.get(added) == "up" and added in seen.rings)
    ann.until(lambda seen: seen.ours.get("you are here") == owner_of(demo, user))
    before = bob.until(lambda seen: seen.ours.get("you are here") == owner_of(demo, other))
    bob.click(f"[data-do=stop][data-node={gateway}]")
    bob.until(lambda seen: gateway not in seen.rings)
    ann.until(lambda seen: seen.state == "open" and gateway not in seen.connection)
    ann.say("moved")
    after = bob.until(lambda seen: [user, "moved"] in seen.said)
    # Nobody saw ann go and come: there was word of her typing, and her message.
    assert after.counts["events"] == before.counts["events"] + 2
    assert set(ann.run("return window.states")) == {"connecting", "open"}
    for page in (ann, bob):
        seen = page.until(lambda seen: seen.state == "open" and not seen.pending)
        assert seen.counts["snapshots"] == 1
        assert_missed_nothing(seen)


def test_a_killed_guild_node_costs_a_fresh_snapshot(two):
    ann, bob = two("killed-guild")
    ann.say("before")
    bob.until(lambda seen: seen.said)
    home = bob.until(lambda seen: "your guild" in seen.ours)
    bob.click(f"[data-do=kill][data-node={home.ours['your guild']}]")
    for page, name in ((ann, "ann"), (bob, "bob")):
        seen = page.until(lambda seen: seen.counts["snapshots"] == 2 and sorted(seen.online) == ["ann", "bob"])
        assert seen.counts["epoch"] != home.counts["epoch"]
        page.say(f"{name} after")
    for page in (ann, bob):
        seen = page.until(lambda seen: len(seen.said) == 2 and not seen.pending)
        assert seen.said == [["ann", "ann after"], ["bob", "bob after"]]
        assert_missed_nothing(seen)


def test_the_last_node_of_its_kind_is_not_stopped(pages, demo):
    page = pages().enter("ann", "last")
    (*rest, last) = demo.names("guilds")
    for name in rest:
        demo.stop(name)
    page.until(lambda seen: last in seen.nodes)
    page.click(f"[data-do=stop][data-node={last}]")
    page.until(lambda seen: "last of its kind" in seen.notice)
    assert demo.names("guilds") == [last]


# By keyboard alone, on any screen.


def test_login_talk_and_leave_by_keyboard_alone(pages):
    page = pages().visit()
    page.until(lambda seen: seen.login)
    page.press("ann", Keys.TAB, "keys", Keys.ENTER)
    page.until(lambda seen: seen.state == "open" and seen.guild == "keys")
    assert page.focus() == "text"
    page.press("no mouse", Keys.SHIFT + Keys.ENTER + Keys.NULL, "at all", Keys.ENTER)
    page.until(lambda seen: seen.said == [["ann", "no mouse\nat all"]])
    reached = []
    while "skip" not in reached:
        page.press(Keys.SHIFT + Keys.TAB + Keys.NULL)
        reached.append(page.focus())
    assert {"messages", "members", "rename", "show-members", "show-panel", "leave"} <= set(reached)
    page.press(Keys.ENTER)
    assert page.focus() == "text"
    for _ in range(reached.index("leave") + 1):
        page.press(Keys.SHIFT + Keys.TAB + Keys.NULL)
    page.press(Keys.ENTER)
    page.until(lambda seen: seen.login)


@pytest.mark.parametrize("view", ["login", "chat", "members", "panel"])
def test_nothing_is_wider_than_a_phone(pages, view):
    page = pages()
    page.look(360, 740)
    if view == "login":
        page.visit().until(lambda seen: seen.login)
    else:
        page.enter("W" * 32, "M" * 32)
        page.say("w" * 500)
        page.until(lambda seen: seen.said)
    if view in ("members", "panel"):
        page.click(f"#show-{view}")
    if view == "panel":
        page.until(lambda seen: seen.nodes)
    too_wide = page.run(
        "return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && "
        "e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert page.run("return document.scrollingElement.scrollWidth") == 360
    assert too_wide == []


_CONTRASTS = """
// The contrast of each text that is seen with what is behind it, as WCAG has it; those that fall short.
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const rgb = (text) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = rgb(getComputedStyle(element).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255];
};
const short = [];
let looked = 0;
for (const element of document.querySelectorAll("body *")) {
  const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  if (!texts.length || !element.checkVisibility({ visibilityProperty: true }) || element.disabled) continue;
  const [one, two] = [light(rgb(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
  looked += 1;
  if ((one + 0.05) / (two + 0.05) < 4.5) short.push([element.outerHTML.slice(0, 80), (one + 0.05) / (two + 0.05)]);
}
return [looked, short];
"""
_UNNAMED = """
const named = (element) => element.labels?.length || element.getAttribute("aria-label")
  || element.getAttribute("aria-labelledby") || (element.tagName === "BUTTON" && element.textContent.trim());
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
const referred = [...document.querySelectorAll("[aria-labelledby], [aria-controls]")]
  .map((element) => element.getAttribute("aria-labelledby") ?? element.getAttribute("aria-controls"));
return [
  ...[...document.querySelectorAll("input, textarea, select, button")].filter((e) => !named(e)).map((e) => e.outerHTML),
  ...[...document.querySelectorAll("img:not([alt]), svg:not([aria-label], [role=img])")].map((e) => e.outerHTML),
  ...ids.filter((id, index) => ids.indexOf(id) !== index),
  ...referred.filter((id) => !ids.includes(id)),
];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_suit_the_scheme_and_can_be_read(pages, scheme):
    page, other = pages(), pages()
    page.look(scheme=scheme, motion="reduce")  # a colour on its way to another is none of these
    page.visit().until(lambda seen: seen.login)
    looked, short = page.run(_CONTRASTS)
    assert (looked >= 5, short) == (True, [])
    other.enter("bob", f"{scheme} colours").say("hello")
    other.visit()
    page.enter("ann", f"{scheme} colours").say("hi")
    page.until(lambda seen: seen.nodes and seen.offline == ["bob"] and len(seen.said) == 2 and not seen.pending)
    looked, short = page.run(_CONTRASTS)
    assert (looked >= 40, short) == (True, [])
    red, green, blue = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(red, green, blue) < 60 if scheme == "dark" else min(red, green, blue) > 200


def test_everything_has_a_name_for_screen_readers(pages):
    page = pages().enter("ann", "named")
    page.until(lambda seen: seen.nodes)
    assert page.run(_UNNAMED) == []
    assert page.run("return document.getElementById('messages').getAttribute('aria-live')") == "polite"
    assert page.run("return document.querySelector('#online').previousElementSibling.textContent") == "online — 1"
    assert page.run("return document.documentElement.lang") == "en"


def test_who_wants_no_motion_gets_none(pages):
    page = pages()
    page.look(motion="reduce")
    page.enter("ann", "still")
    moving = "return parseFloat(getComputedStyle(document.querySelector('button')).transitionDuration) > 0"
    assert page.run(moving) is False
    page.look()
    assert page.run(moving) is True
