"""The search page in a real browser: what a person does with it, by mouse and by keys alone."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from made_models import N_ITEMS, picture
from playwright.sync_api import expect, sync_playwright
from served import server

from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq.serving.page import page as the_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("Chromium is absent: install it (Debian: apt-get install chromium)", allow_module_level=True)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "0123456789abcdef"
GIVE = """
([kind, content, name, type]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const given = new DataTransfer();
    given.items.add(new File([bytes], name, {type}));
    const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: given})
        : new DragEvent("drop", {dataTransfer: given, cancelable: true});
    document.dispatchEvent(event);
}
"""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(made):
    with server(made.index, made.data) as process:
        yield process.url


@pytest.fixture
def opened(browser):
    """Open an address in a window of its own: ``with opened(url) as page``; at the end nothing may have gone wrong."""

    @contextmanager
    def opened(url, faults=(), **given):
        context = browser.new_context(**given)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        yield page
        context.close()
        assert [one for one in said if not any(fault in one for fault in faults)] == []
        assert [one for one in asked if not one.startswith((url, "blob:", "data:"))] == []

    return opened


def names(page):
    return page.locator("#results .caption").all_inner_texts()


def status(page, text):
    expect(page.locator("#status")).to_contain_text(text)


def find(page, words, first):
    """Type words letter after letter, and wait for the item that shall come first."""
    page.locator("#words").fill("")
    page.locator("#words").press_sequentially(words)
    expect(page.locator("#results .caption").first).to_have_text(first)


def test_all_items_are_there_before_anything_is_asked(opened, url):
    with opened(url) as page:
        status(page, f"{N_ITEMS} of {N_ITEMS} items, by their ids")
        assert len(names(page)) == N_ITEMS
        expect(page.locator("#figures")).to_contain_text(
            f"{N_ITEMS} items · codes of 16 bits, 120 bytes in all"
        )
        expect(page.locator("#words")).to_be_focused()
        # An image that has no address yet is "complete", too: wait for its pixels.
        expect(page.locator("#results img").first).to_have_js_property("naturalWidth", 32)


def test_words_find_while_they_are_typed(opened, url):
    with opened(url) as page:
        find(page, "large blue", "large blue")
        expect(page).to_have_url(f"{url}/#text=large+blue")
        assert set(names(page)[:10]) == {"large blue"}
        page.reload()
        expect(page.locator("#results .caption").first).to_have_text("large blue")
        page.goto(f"{url}/#text=small+green&where=number+>+20")
        expect(page.locator("#results .caption").first).to_have_text("small green")
        assert page.locator("#where").input_value() == "number > 20"
        page.locator("#where").fill("")
        find(page, "small red", "small red")
        page.locator("#words").fill("zzzz")
        status(page, "no known word in 'zzzz'")
        page.locator("#words").fill("red zzzz")
        status(page, "Not known, left out: zzzz")


@pytest.mark.parametrize("way", ["drop", "paste", "file"])
def test_a_picture_finds(opened, url, png, way):
    content, first = png(5, 64), "large blue"
    with opened(url) as page:
        status(page, "by their ids")
        encoded = base64.b64encode(content).decode()
        if way == "file":
            page.locator("#file").set_input_files(
                {"name": "q.png", "mimeType": "image/png", "buffer": content}
            )
        else:
            page.evaluate(GIVE, [way, encoded, "q.png", "image/png"])
        status(page, "the closest first")
        expect(page.locator("#parts .name")).to_have_text("q.png")
        expect(page.locator("#results .caption").first).to_have_text(first)
        page.get_by_role("button", name="Remove q.png").click()
        status(page, "by their ids")


def test_pictures_of_other_kinds_are_drawn_anew(opened, url):
    file = io.BytesIO()
    picture(5).resize((9000, 9)).save(file, "GIF")
    with opened(url) as page:
        status(page, "by their ids")
        page.evaluate(GIVE, ["drop", base64.b64encode(file.getvalue()).decode(), "wide.gif", "image/gif"])
        status(page, "the closest first")
        page.evaluate(GIVE, ["drop", base64.b64encode(b"no picture").decode(), "x.txt", "text/plain"])
        status(page, "x.txt is no picture that this browser can read")


def test_more_like_this_and_less_of_that(opened, url):
    with opened(url) as page:
        find(page, "small", "small red")
        page.get_by_role("button", name="More like small blue").first.click()
        expect(page.locator("#results .caption").first).to_have_text("small blue")
        assert page.locator("#parts .name").all_inner_texts() == ["“small”", "small blue"]
        slider = page.get_by_role("slider", name="Weight of small blue")
        slider.fill("-1")
        expect(page.locator("#results .caption").first).not_to_have_text("small blue")
        assert page.locator("#parts output").all_inner_texts() == ["1.0", "-1.0"]
        page.get_by_role("button", name="Less like small green").first.click()
        expect(page.locator("#parts output")).to_have_count(3)
        assert page.locator("#parts output").nth(2).inner_text() == "-0.5"
        for number in range(9):
            page.locator(".card .more").nth(20 + 4 * number).click()
        status(page, "at most 8 parts")


def test_filters_narrow(opened, url):
    with opened(url, faults=["422"]) as page:
        page.get_by_role("checkbox", name="green").check()
        status(page, f"20 of {N_ITEMS} items, by their ids")
        page.get_by_role("checkbox", name="large").check()
        status(page, f"10 of {N_ITEMS} items")
        assert set(names(page)) == {"large green"}
        page.get_by_label("number, least").fill("30")
        status(page, f"5 of {N_ITEMS} items")
        page.locator("#where").fill("number % 4 = 0")
        status(page, f"2 of {N_ITEMS} items")
        find(page, "red", "large green")
        page.locator("#where").fill("has(tags")
        status(page, "not a condition")
        page.get_by_role("button", name="Clear filters").click()
        status(page, f"{N_ITEMS} of {N_ITEMS} items, the closest first")
        assert not page.get_by_role("checkbox", name="green").is_checked()


def test_a_hit_says_why(opened, url):
    with opened(url) as page:
        find(page, "large blue", "large blue")
        page.locator(".card .open").first.click()
        expect(page.locator("#why .shares tr")).to_have_count(3)
        shares = [float(text) for text in page.locator(".shares td:last-child").all_inner_texts()]
        assert shares[0] + shares[1] == pytest.approx(shares[2], abs=0.0021)
        facts = page.locator("#why dl").inner_text().split("\n")
        assert facts[facts.index("colour") + 1] == "blue"
        assert float(facts[facts.index("inner product") + 1]) == pytest.approx(shares[2], abs=0.001)
        page.keyboard.press("Escape")
        expect(page.locator("#why")).to_be_hidden()
        expect(page.locator(".card .open").first).to_be_focused()


def test_keys_alone_are_enough(opened, url):
    with opened(url) as page:
        status(page, "by their ids")
        page.keyboard.type("small red")
        expect(page.locator("#results .caption").first).to_have_text("small red")
        page.keyboard.press("ArrowDown")
        expect(page.locator(".card .open").first).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".card .open").nth(1)).to_be_focused()
        page.keyboard.press("ArrowDown")
        columns = page.evaluate(
            "() => getComputedStyle(document.querySelector('#results')).gridTemplateColumns.split(' ').length"
        )
        expect(page.locator(".card .open").nth(1 + columns)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#why")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#why")).to_be_hidden()
        expect(page.locator(".card .open:focus")).to_have_count(1)
        page.keyboard.press("+")
        expect(page.locator("#parts li")).to_have_count(2)
        page.keyboard.press("/")
        expect(page.locator("#words")).to_be_focused()


@pytest.mark.parametrize("given", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 740}}],
                         ids=["light", "dark", "phone"])  # fmt: skip
def test_everybody_can_read_and_reach_it(opened, url, given):
    with opened(url, bypass_csp=True, **given) as page:
        find(page, "large blue", "large blue")
        page.locator(".card .more").nth(3).click()
        expect(page.locator("#parts li")).to_have_count(2)
        assert told(page) == []
        page.locator(".card .open").first.click()
        expect(page.locator("#why .shares")).to_be_visible()
        assert told(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def told(page):
    """What axe finds amiss: labels, roles, contrast of 4.5 and more."""
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:300]}" for rule in Axe().run(page).response["violations"]
    ]


def test_a_token_is_asked_for_and_kept(made, opened):
    with server(made.index, made.data, host="0.0.0.0", token=TOKEN, allowed_hosts=["127.0.0.1"]) as process:
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        with opened(url, faults=["401"]) as page:
            expect(page.locator("#token")).to_be_visible()
            page.locator("#token-text").fill("wrong")
            page.keyboard.press("Enter")
            expect(page.locator("#token")).to_be_visible()
            page.locator("#token-text").fill(TOKEN)
            page.keyboard.press("Enter")
            status(page, "by their ids")
            expect(page.locator("#results img").first).to_have_attribute("src", re.compile("blob:"))
            find(page, "small blue", "small blue")


def test_an_index_without_model_and_pictures(tmp_path, opened):
    words = np.random.default_rng(0).normal(size=(2, 16, 4)).astype(np.float32)
    with Index.create(tmp_path / "i", Codebooks(words, "product"), attributes={"note": "str"}) as index:
        index.add(
            np.eye(130, 8, dtype=np.float32), attributes={"note": [f"<b>{row}</b>" for row in range(130)]}
        )
    with server(tmp_path / "i") as process, opened(process.url) as page:
        status(page, "60 of 130 items")
        expect(page.locator("#words")).to_be_disabled()
        expect(page.locator("#choose")).to_be_hidden()
        page.get_by_role("button", name="Show more").click()
        status(page, "120 of 130 items")
        page.get_by_role("button", name="Show more").click()
        status(page, "130 of 130 items")
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()
        page.get_by_role("button", name="More like 7", exact=True).click()
        status(page, "the closest first")
        page.get_by_label("note contains").fill("<B>12")
        status(page, "11 of 130 items")


def test_a_server_that_went_away_is_told(made, opened):
    with (
        server(made.index) as process,
        opened(process.url, faults=["ERR_CONNECTION", "Failed to load"]) as page,
    ):
        status(page, "by their ids")
        process.kill()
        process.wait()
        page.locator("#words").fill("red")
        status(page, "The server does not answer")


def test_it_is_one_document_of_its_own():
    text = the_page().content.decode()
    assert not re.search(r"(src|href)=[\"'](?!#|data:,)", text)
    assert "http" not in text.replace("http-equiv", "")
    assert json.dumps(the_page().policy).count("sha256-") == 2
