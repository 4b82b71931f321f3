"""The page in a real browser, headless."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from servers import serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEY = "the-key-of-a-person"

expect.set_options(timeout=30_000)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")


@pytest.fixture(scope="module")
def client(served: Path) -> Iterator[httpx.Client]:
    with serving(served, "bentoml", "serve") as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, client: httpx.Client) -> Iterator[Page]:
    """The page, which must ask nothing of another host, and say nothing on the console."""
    base = str(client.base_url)
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(base)
    yield page
    assert [url for url in asked if not url.startswith((base, "data:"))] == []
    assert [text for text in said if "422" not in text and "401" not in text] == []
    context.close()


def field(page: Page, name: str) -> str:
    return f'.field[data-name="{name}"]'


def test_the_form_shows_a_prediction_of_a_typical_row_at_once(page: Page, client: httpx.Client) -> None:
    model = client.get("/model").json()
    example = {each["name"]: each["example"] for each in model["features"]}
    answer = client.post("/predict", json={"records": [example]}).json()["predictions"][0]
    expect(page.locator(".answer")).to_have_text(f"{answer['probability']:.1%}: not late".replace("%", " %"))
    expect(page.locator(".field")).to_have_count(len(model["features"]) + len(model["keys"]))
    expect(page.locator(f"{field(page, 'departure_minute')} .range")).to_have_text("0 to 1439")
    expect(page.locator("header")).to_contain_text(model["model_id"][:12])


def test_a_change_asks_again_and_the_command_is_the_same_request(page: Page, client: httpx.Client) -> None:
    before = page.locator(".answer").inner_text()
    page.locator(f"{field(page, 'departure_minute')} input").fill("1200")
    page.locator(f"{field(page, 'origin')} select").select_option("LGA")
    page.locator(f"{field(page, 'plane_age')} input").fill("")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).not_to_have_text(before)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    command = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)  # as a person pastes it
    probability = json.loads(done.stdout)["predictions"][0]["probability"]
    expect(page.locator(".answer")).to_contain_text(f"{probability * 100:.1f} %")
    assert '"plane_age"' not in command


def test_the_same_request_in_python_gets_the_same_answer(page: Page) -> None:
    page.locator(f"{field(page, 'dest')} input").fill('it\'s "far"')
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".findings li")).to_have_count(1)
    code = page.locator("#python").inner_text()
    assert len(code.splitlines()) == 5
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    probability = ast.literal_eval(answer)["predictions"][0]["probability"]
    expect(page.locator(".answer")).to_contain_text(f"{probability * 100:.1f} %")


def test_on_a_phone_the_answer_stays_in_sight_and_groups_are_folded(browser: Browser, client: httpx.Client) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 780})
    page.goto(str(client.base_url))
    expect(page.locator(".answer")).to_contain_text("late")
    assert page.locator("details[open]").count() == 0
    expect(page.locator(field(page, "weather_humidity"))).not_to_be_visible()
    page.locator("summary", has_text="weather").click()
    expect(page.locator(field(page, "weather_humidity"))).to_be_visible()
    page.locator(f"{field(page, 'weather_humidity')} input").fill("wet")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_have_text("Not answered")
    for selector in (".answer", "#predict"):  # also where the form was scrolled to
        expect(page.locator(selector)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_what_is_wrong_is_said_at_its_field(page: Page) -> None:
    wrong = page.locator(field(page, "departure_minute"))
    wrong.locator("input").fill("soon")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_have_text("Not answered")
    expect(wrong.locator(".finding")).to_have_text('"soon" is of another type')
    expect(page.locator(".findings")).to_contain_text("an integer from 0 to 1439")
    wrong.locator("input").fill("600")
    unusual = page.locator(field(page, "dest"))
    unusual.locator("input").fill("it's <b>far</b>")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_contain_text("late")
    expect(unusual.locator(".finding")).to_contain_text("is outside what the contract expects")
    expect(page.locator(".findings li")).to_have_count(1)
    command = page.locator("#curl").inner_text()
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["warnings"][0]["field"] == "dest"


def test_where_keys_are_asked_for_the_page_asks_too(browser: Browser, served: Path) -> None:
    with serving(served, "bentoml", "serve", KIBAN_API_KEYS=KEY) as client:
        page = browser.new_page()
        page.goto(str(client.base_url))
        page.get_by_role("button", name="Predict").click()
        expect(page.locator(".findings")).to_contain_text("a valid API key is missing")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Predict").click()
        expect(page.locator(".answer")).to_contain_text("late")
        assert KEY not in page.locator("#curl").inner_text()
        page.close()


def test_the_documentation_is_drawn_without_another_host(browser: Browser, client: httpx.Client) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{client.base_url}/docs")
    expect(page.locator(".opblock-summary-path", has_text="/invocations")).to_be_visible()
    assert all(url.startswith((str(client.base_url), "data:")) for url in asked)
    page.close()
