"""The page in a headless browser: it loads alone, sorts, filters, fits a phone, and scrolls with 5,000 images."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from augment import files, report_page, study_report
from augment.report_page import Card, Gallery, Page, Section
from tests import studying

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
PHONE, DESK = (360, 740), (1200, 900)
THUMBNAILS = 5_000
STEPS = 25
# Scrolls a box to its end in so many steps, a frame each; the most images that were there at a time.
SCROLL = """
const [box, steps, done] = arguments;
const height = box.scrollHeight - box.clientHeight;
let [step, most] = [0, 0];
const frame = () => {
  most = Math.max(most, document.images.length);
  if (step === steps) return done(most);
  box.scrollTop = height * ++step / steps;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def study_page(tmp_path_factory, pedestrians):
    folder = tmp_path_factory.mktemp("browser") / "study"
    layout = studying.make(folder, pedestrians, noise=0.1)
    studying.fail(folder, layout.trials["mixed", 2], "Traceback", "ValueError: no memory" + " at all" * 40)
    return study_report.write(folder)


@pytest.fixture(scope="module")
def full_page(tmp_path_factory):
    """As many thumbnails as a page shall bear, of the size that real ones have."""
    pixels = np.random.default_rng(0).integers(0, 256, (14, 22, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((172, 112), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    jpeg = buffer.getvalue()
    assert 2_000 < len(jpeg) < 8_000, "as a thumbnail of a person"
    cards = tuple(
        Card(jpeg, (112, 172), f"image {n}", (f"person {n % 700}", f"{n}"), (str(n % 2), str(n % 700)), float(n))
        for n in range(THUMBNAILS)
    )
    gallery = Gallery("Many", "caption", ("half", "person"), ("as they come", "largest", "smallest"), cards)
    page = Page("Many thumbnails", "headline", (), (Section("Images", (gallery,)),))
    return files.write_atomic(tmp_path_factory.mktemp("full") / "report.html", report_page.render(page))


def show(browser, page, size=DESK):
    """Load a page anew; what the console says of it must be nothing."""
    measures = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", measures)
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []


def column(browser, name, place):
    """What is shown in a column of a table, and what it is sorted by."""
    cells = f"section[aria-label^='{name}'] tbody tr:not([hidden]) td:nth-child({place})"
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => [cell.textContent, cell.dataset.value])"
    return browser.execute_script(script, cells)


def head(browser, name, place):
    return browser.find_element("css selector", f"section[aria-label^='{name}'] th:nth-child({place}) button")


def test_it_loads_alone(browser, study_page):
    show(browser, study_page)
    assert browser.title == "Does it <help> & why?"
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []
    blocked = "const done = arguments[0]; fetch('https://example.org').then(() => done('got'), () => done('blocked'))"
    assert browser.execute_async_script(blocked) == "blocked"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))
    assert browser.execute_script("return document.querySelectorAll('.plots svg').length") == 6
    unnamed = "img:not([alt]), button:empty, [role=region]:not([aria-label]), [role=img]:not([aria-label])"
    assert browser.execute_script("return document.querySelectorAll(arguments[0]).length", unnamed) == 0


def test_a_click_sorts_by_number_and_again_the_other_way(browser, study_page):
    show(browser, study_page)
    place = 3  # mAP
    before = [float(value) for _, value in column(browser, "Trials", place)]
    head(browser, "Trials", place).click()
    assert [float(value) for _, value in column(browser, "Trials", place)] == sorted(before) != before
    header = head(browser, "Trials", place).find_element("xpath", "..")
    assert header.get_attribute("aria-sort") == "ascending"
    head(browser, "Trials", place).click()
    assert [float(value) for _, value in column(browser, "Trials", place)] == sorted(before, reverse=True)
    head(browser, "Trials", 1).click()
    assert header.get_attribute("aria-sort") is None


def test_numbers_are_not_sorted_as_words_and_gaps_come_last(browser, study_page):
    show(browser, study_page)
    place = 6  # p after Holm's correction, of which random erasing alone has none
    for _ in range(2):
        head(browser, "Comparisons", place).click()
        values = [value for _, value in column(browser, "Comparisons", place)]
        assert values[-2:] == ["", ""]
        assert len([value for value in values if value]) == 4
    gains = [float(text) for text, _ in column(browser, "Comparisons", 2)]
    assert min(gains) < 0 or max(gains) >= 10, "words would sort these wrongly"


def test_the_keyboard_sorts(browser, study_page):
    show(browser, study_page)
    button = head(browser, "Trials", 3)
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys("\ue007")  # Enter
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    button.send_keys(" ")
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"


def test_a_filter_and_a_choice_hide_rows(browser, study_page):
    show(browser, study_page)
    box = browser.find_element("css selector", "section[aria-label^='Trials']")
    box.find_element("css selector", "input[type=search]").send_keys("ERASING mixed")
    assert {text for text, _ in column(browser, "Trials", 1)} == {"mixed+erasing"}
    assert box.find_element("css selector", "output").text == "3 of 11"
    choice = box.find_element("css selector", "select[data-facet='1']")
    choice.find_element("xpath", "option[text()='2']").click()
    assert [text for text, _ in column(browser, "Trials", 2)] == ["2"]
    choice.find_element("xpath", "option[text()='all']").click()
    box.find_element("css selector", "input[type=search]").send_keys("\ue003" * len("ERASING mixed"))  # backspace
    assert len(column(browser, "Trials", 1)) == 11


def test_a_phone_needs_no_scrolling_sideways(browser, study_page):
    show(browser, study_page, PHONE)
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    assert browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    seen = "return [...document.querySelectorAll(arguments[0])].every((e) => e.getBoundingClientRect().right < 360)"
    for name, last in (("Comparisons", 3), ("Arms", 2)):
        cells = f"section[aria-label='{name}'] td:nth-child({last})"
        assert browser.execute_script(seen, cells), f"{name}: the result beside the names"
    wide = "return [...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
    assert browser.execute_script(wide) > 0, "tables scroll in boxes of their own"
    small = (
        "return Math.min(...[...document.querySelectorAll('.plots text')].map((e) => e.getBoundingClientRect().height))"
    )
    assert browser.execute_script(small) >= 9, "pixels of a plot's letters"


def test_queries_are_picked_and_ordered(browser, study_page):
    show(browser, study_page)
    box = browser.find_element("css selector", ".gallery[aria-label^='Queries']")
    values = "return [...arguments[0].querySelectorAll('li:not([hidden])')].map((card) => Number(card.dataset.value))"
    shown = browser.execute_script(values, box)
    assert [abs(value) for value in shown] == sorted(map(abs, shown), reverse=True)
    assert min(shown) < 0 < max(shown)
    box.find_element("xpath", ".//option[text()='lost']").click()
    lost = browser.execute_script(values, box)
    assert lost == [value for value in shown if value < 0]
    box.find_element("xpath", ".//option[text()='largest gain first']").click()
    assert browser.execute_script(values, box) == sorted(lost, reverse=True)


def busy(browser):
    """Seconds of processor time that the page's thread has taken, which other programs do not lengthen."""
    found = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(each["value"] for each in found if each["name"] == "TaskDuration")


def test_five_thousand_thumbnails_stay_smooth(browser, full_page):
    browser.get("about:blank")
    start = busy(browser)
    show(browser, full_page)
    opened = busy(browser)
    assert opened - start < 5, f"seconds to open {full_page.stat().st_size / 1e6:.0f} MB"
    box = browser.find_element("css selector", ".cards")
    most = browser.execute_async_script(SCROLL, box, STEPS)
    scrolled = busy(browser)
    assert 0 < most < 200, "images decoded at a time"
    assert (scrolled - opened) / STEPS < 0.1, "seconds a frame"
    picks = browser.find_element("css selector", "select[data-facet='1']")
    browser.execute_script(
        "arguments[0].value = '699'; arguments[0].dispatchEvent(new Event('change')); document.body.offsetHeight", picks
    )
    assert busy(browser) - scrolled < 3, "seconds to filter"
    assert browser.find_element("css selector", ".gallery output").text == "7 of 5000"
    there = "const done = arguments[0]; const look = () => [...document.images].filter((i) => i.naturalWidth).length"
    assert browser.execute_async_script(f"{there} === 7 ? done(7) : requestAnimationFrame(look); look();") == 7
