"""The demo in Chromium: what a visitor does, against the real server."""

import re
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DEADLINE, Demo

expect.set_options(timeout=DEADLINE * 1000)

OpenPage = Callable[..., Page]


def join(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#say button")).to_be_enabled()


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def people(page: Page, *names: str) -> None:
    expect(page.locator("#people li")).to_contain_text(list(names))


def messages(page: Page, *texts: str) -> None:
    expect(page.locator("#messages .text")).to_have_text(list(texts))


def choose(page: Page, kind: str) -> None:
    # The radio button itself is hidden behind its label, as a visitor sees it.
    page.locator("#echo .segments label", has_text=kind).click()


def send(page: Page) -> None:
    page.locator("#echo").get_by_role("button", name="Send").click()


def entries(page: Page, direction: str) -> list[tuple[str, str, str]]:
    """Type, size and preview of what the lab's log shows."""
    return [
        (
            entry.locator(".type").inner_text(),
            entry.locator(".size").inner_text(),
            entry.locator(".preview").inner_text(),
        )
        for entry in page.locator(f"#lab-log .{direction}").all()
    ]


def lab_state(page: Page, state: str) -> None:
    expect(page.locator("#lab-state")).to_have_attribute("data-state", state)


# ----------------------------------------------------------------------------------------- chat


def test_two_pages_chat_and_see_each_other(open_page: OpenPage) -> None:
    ada, grace = open_page(), open_page()
    join(ada, "Ada")
    join(grace, "Grace")
    people(ada, "Ada (you)".replace(" ", ""), "Grace")
    people(grace, "Ada", "Grace(you)")
    expect(ada.locator("#messages")).to_contain_text("Grace joined")

    say(ada, "Hello")
    say(grace, "Hello yourself\n<img src=x onerror=alert(1)>")
    for page in (ada, grace):
        messages(page, "Hello", "Hello yourself\n<img src=x onerror=alert(1)>")
        expect(page.locator("#messages img")).to_have_count(0)
    expect(ada.locator("#messages .mine .text")).to_have_text(["Hello"])
    expect(ada.locator("#messages .message time").first).to_have_text(re.compile(r"\d\d:\d\d"))

    grace.close()
    expect(ada.locator("#messages")).to_contain_text("Grace left")
    people(ada, "Ada(you)")


def test_rooms_are_apart_and_history_greets_newcomers(open_page: OpenPage) -> None:
    ada, grace = open_page("#tea"), open_page()
    join(ada, "Ada")
    say(ada, "One lump or two?")
    messages(ada, "One lump or two?")
    expect(ada.locator("#room-name")).to_have_text("#tea")

    join(grace, "Ada")  # the same name, in another room
    people(grace, "Ada(you)")
    messages(grace)
    grace.get_by_role("button", name="Leave").click()
    expect(grace.locator("#link-state")).to_have_text("Open")
    grace.get_by_label("Room", exact=True).fill("tea")
    join(grace, "Grace")
    messages(grace, "One lump or two?")
    people(ada, "Ada(you)", "Grace")


def test_a_taken_name_is_refused_in_words(open_page: OpenPage) -> None:
    ada, other = open_page(), open_page()
    join(ada, "Ada")
    other.get_by_label("Name").fill("ADA")
    other.get_by_role("button", name="Join").click()
    expect(other.locator("#chat-error")).to_contain_text("The name ADA is taken")
    join(other, "Another")
    expect(other.locator("#chat-error")).to_be_empty()
    people(ada, "Ada(you)", "Another")


def test_a_reload_comes_back_under_the_same_name(open_page: OpenPage) -> None:
    ada, grace = open_page(), open_page()
    join(ada, "Ada")
    join(grace, "Grace")
    say(ada, "before")
    messages(grace, "before")
    ada.reload()
    expect(ada.locator("#say button")).to_be_enabled()
    messages(ada, "before")
    say(ada, "after")
    messages(grace, "before", "after")
    expect(grace.locator("#people li")).to_have_count(2)


def test_a_lost_server_is_found_again(open_page: OpenPage, demo: Demo) -> None:
    ada = open_page()
    join(ada, "Ada")
    expect(ada.locator("#lab-state")).to_have_text("Open")
    demo.stop()
    expect(ada.locator("#link-state")).to_have_attribute(
        "data-state", re.compile("waiting|connecting")
    )
    expect(ada.locator("#link-close")).to_contain_text("1001 (going away)")
    expect(ada.locator("#say button")).to_be_disabled()
    demo.start()
    expect(ada.locator("#say button")).to_be_enabled()
    lab_state(ada, "open")
    say(ada, "still here")
    messages(ada, "still here")


def test_the_panel_shows_the_connection(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("#link-state")).to_have_text("Open")
    expect(page.locator("#link-subprotocol")).to_have_text("chat.v1")
    expect(page.locator("#link-extensions")).not_to_have_text("–")
    expect(page.locator("#rtt")).to_have_text(re.compile(r"^[0-9.]+$"))
    expect(page.locator("#server-latency")).to_have_text(re.compile(r"^[0-9.]+ ms$"))
    expect(page.locator("#spark .spark-line")).to_have_attribute("d", re.compile("^M.*L"))
    page.locator("#link-toggle").click()
    expect(page.locator("#link-state")).to_have_text("Closed")
    expect(page.locator("#link-close")).to_contain_text("1000 (normal closure)")
    page.locator("#link-toggle").click()
    expect(page.locator("#link-state")).to_have_text("Open")


# ------------------------------------------------------------------------------------------ lab


def test_text_and_binary_come_back(open_page: OpenPage) -> None:
    page = open_page()
    lab_state(page, "open")
    page.get_by_label("A text message").fill("grüße <b>👋</b>")
    send(page)
    expect(page.locator("#lab-log .received")).to_have_count(1)
    choose(page, "Binary")
    page.get_by_label("Bytes in hexadecimal").fill("00 ff 4142")
    send(page)
    expect(page.locator("#lab-log .received")).to_have_count(2)
    expected = [("text", "19 B", "grüße <b>👋</b>"), ("binary", "4 B", "00 ff 41 42")]
    assert entries(page, "received") == entries(page, "sent") == expected

    page.get_by_label("Bytes in hexadecimal").fill("0g")
    send(page)
    expect(page.locator("#echo-error")).to_contain_text("not pairs of hexadecimal digits")


@pytest.mark.parametrize("content", ["random bytes", "repeated text"])
def test_a_mebibyte_comes_back(open_page: OpenPage, content: str) -> None:
    page = open_page()
    lab_state(page, "open")
    choose(page, "Large")
    page.get_by_label("Size").select_option("1 MiB")
    page.get_by_label("Content").select_option(content)
    send(page)
    expect(page.locator("#throughput")).to_have_text(
        re.compile(r"^1 MiB there and back, unchanged, in [0-9.]+ ms: [0-9.]+ MiB/s$")
    )


def test_a_message_over_the_limit_is_refused_with_1009(open_page: OpenPage) -> None:
    page = open_page()
    lab_state(page, "open")
    choose(page, "Large")
    page.get_by_label("Size").select_option("over the limit")
    send(page)
    expect(page.locator("#lab-close")).to_contain_text("1009 (message too big)")
    lab_state(page, "closed")
    expect(page.locator("#throughput")).to_contain_text("closed before the echo came")
    page.locator("#lab-toggle").click()
    lab_state(page, "open")


def test_the_servers_close_code_arrives(open_page: OpenPage) -> None:
    page = open_page()
    lab_state(page, "open")
    page.get_by_label("Code").fill("4321")
    page.get_by_label("Reason").fill("enough for today")
    page.get_by_role("button", name="From the server").click()
    expect(page.locator("#lab-close")).to_contain_text("4321")
    expect(page.locator("#lab-close")).to_contain_text("“enough for today”, clean")
    lab_state(page, "closed")
    page.locator("#lab-toggle").click()
    lab_state(page, "open")
    send(page)
    expect(page.locator("#lab-log .received")).to_have_count(1)


def test_the_pages_close_code_arrives_at_the_server(open_page: OpenPage, demo: Demo) -> None:
    page = open_page()
    lab_state(page, "open")
    page.get_by_label("Code").fill("3999")
    page.get_by_label("Reason").fill("grüße")
    page.get_by_role("button", name="From this page").click()
    demo.wait_for("echo: closed with 3999: grüße$")
    expect(page.locator("#lab-close")).to_contain_text("3999")
    lab_state(page, "closed")


def test_codes_that_cannot_be_sent_are_explained(open_page: OpenPage) -> None:
    page = open_page()
    lab_state(page, "open")
    page.get_by_label("Code").fill("1001")
    page.get_by_role("button", name="From this page").click()
    expect(page.locator("#close-error")).to_contain_text("1000 or 3000 to 4999 only")
    page.get_by_label("Code").fill("1006")
    page.get_by_role("button", name="From the server").click()
    expect(page.locator("#lab-log .received .preview")).to_contain_text("cannot be sent")
    lab_state(page, "open")


# --------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 390])
def test_it_fits_its_window(open_page: OpenPage, tmp_path: Path, width: int, scheme: str) -> None:
    page = open_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    join(page, "A name of 24 characters!")
    say(page, "unbreakable" * 60)
    expect(page.locator("#messages .text")).to_have_count(1)
    for part in ("Chat", "Echo lab", "Connection") if width < 800 else ("",):
        if part:
            page.get_by_role("navigation").get_by_role("button", name=part).click()
        page.screenshot(path=tmp_path / f"{part}.png")  # for a person's eyes
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_chat_is_usable_by_keyboard(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("#link-state")).to_have_text("Open")
    page.get_by_label("Name").focus()
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    messages(page, "one\ntwo")


def test_the_page_is_served_with_a_strict_policy(demo: Demo) -> None:
    answers = {}
    for path in ("/", "/app.js", "/../cli.py", "/static/app.js", "/ws/echo"):
        connection = HTTPConnection("127.0.0.1", demo.port, timeout=DEADLINE)
        connection.request("GET", path)
        answers[path] = connection.getresponse()
        connection.close()
    statuses = {path: answer.status for path, answer in answers.items()}
    assert statuses == {
        "/": 200,
        "/app.js": 200,
        "/../cli.py": 404,
        "/static/app.js": 404,
        "/ws/echo": 426,
    }
    policy = answers["/"].headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert answers["/app.js"].headers["X-Content-Type-Options"] == "nosniff"
