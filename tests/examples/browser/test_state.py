"""What the page's modules do with what comes, in a browser: the page's own files, and no socket."""

from __future__ import annotations

import pytest

from tests.examples.browser.page import Page

_BEGIN = """
const { Guild, MESSAGES_MAX, PENDING_MAX, TYPING_MS } = await import("/page/guild.js");
const snapshot = (seq, members = [], messages = [], epoch = 7) =>
  ({ t: "SNAPSHOT", guild: "lobby", user: "ann", epoch, seq, members, messages });
const resumed = (seq, epoch = 7) => ({ t: "RESUMED", guild: "lobby", user: "ann", epoch, seq });
const event = (seq, t, what = {}, epoch = 7) => ({ t, epoch, seq, ...what });
const said = (seq, user, text, nonce = null) => event(seq, "MESSAGE_CREATE", { user, text, at: seq, nonce });
const guild = new Guild();
const hear = (...events) => events.map((one) => guild.apply(one, 0));
const texts = () => guild.messages.map(({ text }) => text);
"""


@pytest.fixture(scope="module")
def page(browser, demo):
    return Page(browser, browser.current_window_handle, demo.url()).visit()


@pytest.fixture
def run(page):
    return lambda script: page.run_module(_BEGIN + script)


def test_an_event_counts_once_and_in_order(run):
    answers, counts, position, texts = run("""
        const twice = said(5, "bob", "a");
        const answers = hear(snapshot(4), twice, twice, said(3, "bob", "old"), said(6, "bob", "b"));
        return [answers, guild.counts, guild.position, texts()];
    """)
    assert answers == ["snapshot", "event", "repeat", "repeat", "event"]
    assert counts == {"events": 2, "gaps": 0, "repeats": 2, "resumes": 0, "snapshots": 1}
    assert position == {"epoch": 7, "seq": 6}
    assert texts == ["a", "b"]


@pytest.mark.parametrize(
    "bad", ["said(7, 'bob', 'b')", "event(6, 'JOIN', { members: [] }, 8)", "resumed(6)", "resumed(5, 8)"]
)
def test_after_a_hole_it_begins_afresh(run, bad):
    answers, gaps, position, texts = run(f"""
        return [hear(snapshot(4), said(5, "bob", "a"), {bad}), guild.counts.gaps, guild.position, texts()];
    """)
    assert answers == ["snapshot", "event", "gap"]
    assert (gaps, position, texts) == (1, None, ["a"])


def test_a_resume_goes_on_where_it_was(run):
    answers, counts = run("""
        return [hear(snapshot(4), said(5, "bob", "a"), resumed(5), said(6, "bob", "b")), guild.counts];
    """)
    assert answers == ["snapshot", "event", "resumed", "event"]
    assert counts == {"events": 2, "gaps": 0, "repeats": 0, "resumes": 1, "snapshots": 1}


def test_a_snapshot_of_another_epoch_takes_the_place_of_all(run):
    position, members, texts, last = run("""
        hear(snapshot(4, [["bob", "online"]]), said(5, "bob", "a"));
        hear(snapshot(1, [["ann", "idle"]], [said(1, "ann", "new")], 8));
        return [guild.position, [...guild.members], texts(), guild.messages.at(-1).t];
    """)
    assert position == {"epoch": 8, "seq": 1}
    assert members == [["ann", "idle"]]
    assert texts == ["new", None]
    assert last == "AFRESH"


def test_members_come_change_are_renamed_and_leave(run):
    members, own, notes = run("""
        hear(
          snapshot(0, [["bob", "offline"]]),
          event(1, "JOIN", { members: [["ann", "online"], ["eve", "online"]] }),
          event(2, "PRESENCE_UPDATE", { members: [["bob", "online"], ["eve", "idle"]] }),
          event(3, "NICK", { user: "ann", to: "anna" }),
          event(4, "NICK", { user: "bob", to: "bob" }),
          event(5, "LEAVE", { user: "eve" }),
        );
        return [[...guild.members], guild.self, guild.messages.map(({ t }) => t)];
    """)
    assert sorted(members) == [["anna", "online"], ["bob", "online"]]
    assert own == "anna"
    assert notes == ["JOIN", "NICK", "LEAVE"]


def test_who_types_does_so_for_a_while_or_until_the_message(run):
    soon, late, after, own = run("""
        hear(snapshot(0), event(1, "TYPING_START", { user: "bob" }), event(2, "TYPING_START", { user: "eve" }));
        const soon = guild.typists(TYPING_MS - 1);
        hear(said(3, "bob", "a"));
        const after = guild.typists(TYPING_MS - 1);
        hear(event(4, "TYPING_START", { user: "ann" }));
        return [soon, guild.typists(TYPING_MS), after, guild.typists(0)];
    """)
    assert (soon, after) == (["bob", "eve"], ["eve"])
    assert (late, own) == ([], [])


def test_a_message_is_pending_until_its_nonce_comes_back(run):
    seen = run("""
        guild.post("n1", "one", 0); guild.post("n2", "two", 0); guild.post("n3", "three", 0);
        const pending = () => guild.pending.map(({ text }) => text);
        const seen = [pending()];
        hear(snapshot(4, [], [said(4, "ann", "two", "n2")])); seen.push(pending());
        hear(said(5, "bob", "one"));                          seen.push(pending());
        hear(said(6, "ann", "one", "n1"));                    seen.push(pending());
        return seen;
    """)
    assert seen == [["one", "two", "three"], ["one", "three"], ["one", "three"], ["three"]]


def test_what_is_kept_is_bounded(run):
    kept, first, posted = run("""
        hear(snapshot(0));
        for (let seq = 1; seq <= MESSAGES_MAX + 5; seq += 1) hear(said(seq, "bob", String(seq)));
        const posted = Array.from({ length: PENDING_MAX + 1 }, (_, number) => guild.post(String(number), "x", 0));
        return [guild.messages.length - MESSAGES_MAX, texts()[0], [posted.at(-2), posted.at(-1)]];
    """)
    assert (kept, first) == (0, "6")
    assert posted == [True, False]


def test_one_change_among_a_thousand_members_moves_one_row(run):
    drawn, changes = run("""
        const { drawMembers } = await import("/page/chat.js");
        hear(snapshot(0, Array.from({ length: 1000 }, (_, number) => [`user${number}`, "online"])));
        drawMembers(guild);
        const drawn = document.querySelectorAll("#online li").length;
        const watch = new MutationObserver(() => {});
        watch.observe(document.getElementById("members"), { childList: true, subtree: true });
        hear(event(1, "PRESENCE_UPDATE", { members: [["user500", "idle"]] }));
        drawMembers(guild);
        const moved = watch.takeRecords().filter(({ target }) => target.tagName === "UL");
        return [drawn, moved.map((one) => [one.target.id, one.addedNodes.length, one.removedNodes.length])];
    """)
    assert drawn == 1000
    assert changes == [["online", 0, 1], ["idle", 1, 0]]


def test_ten_thousand_members_are_drawn_in_part_and_counted_in_full(run):
    title, rows, last = run("""
        const { drawMembers } = await import("/page/chat.js");
        hear(snapshot(0, Array.from({ length: 10000 }, (_, number) => [`user${number}`, "idle"])));
        drawMembers(guild);
        const rows = document.querySelectorAll("#idle li");
        return [document.getElementById("idle-title").textContent, rows.length, rows[rows.length - 1].textContent];
    """)
    assert (title, rows, last) == ("idle — 10000", 1001, "and 9000 more")


def test_a_message_that_came_is_drawn_without_touching_the_others(run):
    first, changes = run("""
        const { drawMessages } = await import("/page/chat.js");
        hear(snapshot(0), said(1, "bob", "a"), said(2, "eve", "b"));
        drawMessages(guild);
        const list = document.getElementById("messages");
        const first = [...list.children].map((line) => line.querySelector(".text").textContent);
        const watch = new MutationObserver(() => {});
        watch.observe(list, { childList: true });
        hear(said(3, "bob", "c"));
        drawMessages(guild);
        return [first, watch.takeRecords().map((one) => [one.addedNodes.length, one.removedNodes.length])];
    """)
    assert first == ["a", "b"]
    assert changes == [[1, 0]]


def test_gateways_that_serve_on_every_address_are_reached_where_the_page_is_from(run):
    asked, elsewhere = run("""
        const { candidates, learn, nameOf, reachable } = await import("/page/gateways.js");
        const node = (port, state) => ({ role: "gateway", state, name: `g${port}`, url: `http://0.0.0.0:${port}` });
        learn([node(1, "up"), node(2, "up"), node(3, "down")]);
        const asked = candidates(null).map((url) => (url === location.origin ? "origin" : nameOf(url) + url));
        return [asked, reachable("http://10.0.0.1:80")];
    """)
    assert (asked[0], *sorted(asked[1:])) == ("origin", "g1http://127.0.0.1:1", "g2http://127.0.0.1:2")
    assert elsewhere == "http://10.0.0.1"


def test_gateways_are_known_until_it_is_sure_that_they_are_gone(run):
    names = run("""
        const { candidates, learn, nameOf, remember } = await import("/page/gateways.js");
        const known = () => candidates(null).map(nameOf).filter((name) => /^g\\d$/.test(name)).sort();
        const node = (port) => ({ role: "gateway", state: "up", name: `g${port}`, url: `http://there:${port}` });
        learn([node(1)]); const names = [known()];
        remember({ g2: "http://there:2", g3: "http://there:3" }); names.push(known());
        remember({ g2: "http://there:2" }); names.push(known());
        learn([]); names.push(known());
        learn([node(2), { ...node(3), state: "down" }]); names.push(known());
        return names;
    """)
    assert names == [["g1"], ["g1", "g2", "g3"], ["g1", "g2", "g3"], ["g1", "g2", "g3"], ["g2"]]
