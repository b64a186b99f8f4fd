from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from graft.operations.edits import set_switch
from graft.operations.switch import Switch
from graft.operations.switches import load
from graft.types import RouteKey
from tests.control.app import TOKEN, VIEWER
from tests.control.demo import SWITCHES
from tests.parts import Process, free_port, wait_until
from tests.parts.browser import browser, complaints, screenshot

ROOT = Path(__file__).parents[2]
SEARCH = RouteKey("GET", "/api/search")
USERS = RouteKey("GET", "/users/{name}")


class Dashboard:
    """What a person sees and does. ``url`` is that of the page."""

    def __init__(self, driver: Any, url: str, switches: Path) -> None:
        self.driver, self.url, self._switches = driver, url, switches

    def log_in(self, token: str = TOKEN) -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}#token={token}")
        self.until(lambda: self.visible(".route"), "the routes")

    def visible(self, selector: str) -> list[Any]:
        return [found for found in self.driver.find_elements("css selector", selector) if found.is_displayed()]

    def row(self, key: RouteKey) -> Any:
        return self.driver.find_element("css selector", f'[data-route="{key}"]')

    def click(self, key: RouteKey, selector: str) -> None:
        self.press(lambda: self.row(key).find_element("css selector", selector), f"{selector} of {key}")

    def press(self, find: Callable[[], Any], what: str) -> None:
        """In the middle of the screen, where the head does not cover it; again where the page moved meanwhile."""
        from selenium.common.exceptions import ElementClickInterceptedException

        def pressed() -> bool:
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element := find())
            try:
                element.click()
            except ElementClickInterceptedException:
                return False
            return True

        self.until(pressed, f"{what} to be in reach")

    def look_at(self, key: RouteKey) -> None:
        """Opens what stands below its row."""
        path = self.row(key).find_element("css selector", "button.path")
        if path.get_attribute("aria-expanded") != "true":
            self.click(key, "button.path")
        label = f"{key}: is it safe, what differs"
        self.until(lambda: self.visible("#detail")[0].get_attribute("aria-label") == label, "the route looked at")
        self.until(lambda: self.visible(".safe .chip"), "the gates")

    def text(self, selector: str) -> str:
        return str(self.driver.find_element("css selector", selector).text)

    def switch(self, key: RouteKey) -> Switch:
        """What switches.toml says."""
        return load(self._switches).for_route(key)

    def until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, 30, what)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Callable[[], Process]]:
    """Starts the gateway, or starts it again after it was stopped."""
    port, running = free_port(), []

    def start() -> Process:
        command = [sys.executable, "-m", "tests.control.demo", str(port), str(folder)]
        process = Process(command, folder / "log", cwd=ROOT)
        running.append(process)
        url = f"http://127.0.0.1:{port}/_graft/health"
        process.wait_for(lambda: urllib.request.urlopen(url, timeout=1).status == 200, 20, "health")
        return process

    start.port = port  # type: ignore[attr-defined]
    yield start
    for process in running:
        process.stop()


@pytest.fixture(scope="module")
def process(server: Callable[[], Process]) -> Process:
    return server()


@pytest.fixture(scope="module")
def rungs(process: Process, folder: Path) -> bytes:
    """Where each route stands at the beginning: a test that moves one begins another rung."""
    return (folder / "promotions.json").read_bytes()


@pytest.fixture(scope="module")
def driver(process: Process) -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture
def dashboard(driver: Any, server: Any, folder: Path, rungs: bytes) -> Iterator[Dashboard]:
    (folder / "switches.toml").write_text(SWITCHES)
    (folder / "promotions.json").write_bytes(rungs)
    driver.get_log("browser")
    driver.delete_all_cookies()
    shown = Dashboard(driver, f"http://127.0.0.1:{server.port}/_graft/", folder / "switches.toml")
    yield shown
    assert complaints(driver) == []


pytestmark = pytest.mark.slow


def test_without_a_login_there_is_a_form_and_no_figure(dashboard: Dashboard) -> None:
    dashboard.driver.get("about:blank")
    dashboard.driver.get(dashboard.url)
    dashboard.until(lambda: dashboard.visible("#login"), "the login")
    assert not dashboard.driver.find_elements("css selector", ".route")
    field = dashboard.driver.find_element("id", "token")
    field.send_keys("a wrong one\n")
    dashboard.until(lambda: "wrong" in dashboard.text("#login-error"), "the refusal")
    field.send_keys(TOKEN + "\n")
    dashboard.until(lambda: dashboard.visible(".route"), "the routes")


def test_the_link_logs_in_and_leaves_no_token_behind(dashboard: Dashboard) -> None:
    dashboard.log_in()
    assert TOKEN not in dashboard.driver.current_url
    assert dashboard.driver.execute_script("return document.cookie") == ""
    assert re.fullmatch(r"\d+(\.\d+)?", dashboard.text("#coverage-traffic"))


def test_a_viewer_sees_how_it_stands_and_nothing_to_change_it(dashboard: Dashboard) -> None:
    dashboard.log_in(VIEWER[0])
    dashboard.until(lambda: dashboard.text("#who") == "wall, viewer", "the name")
    for control in ("#rollback-all", ".ladder", ".actions button"):
        assert dashboard.driver.find_elements("css selector", control)
        assert not dashboard.visible(control)
    dashboard.until(
        lambda: not dashboard.row(SEARCH).find_element("css selector", "input[type=range]").is_enabled(), ""
    )
    assert not dashboard.row(SEARCH).find_element("css selector", "input[role=switch]").is_enabled()
    dashboard.log_in()
    dashboard.until(lambda: dashboard.visible(".ladder"), "an operator's controls")
    dashboard.until(lambda: dashboard.row(SEARCH).find_element("css selector", "input[type=range]").is_enabled(), "")


def test_a_share_that_is_moved_is_in_the_file_and_rolled_back_with_one_click(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.click(SEARCH, ".ladder button:nth-child(4)")
    dashboard.until(lambda: dashboard.switch(SEARCH).share == 50, "share 50 in switches.toml")
    dashboard.until(lambda: "50 %" in dashboard.row(SEARCH).text, "share 50 on the page")
    dashboard.until(lambda: "share 50 %" in dashboard.text("#toasts"), "the word of it")
    dashboard.click(SEARCH, ".actions button")
    dashboard.until(lambda: dashboard.switch(SEARCH).share == 0, "the rollback in switches.toml")
    dashboard.until(lambda: "share 0 %" in dashboard.text("#toasts"), "the word of it")
    dashboard.driver.find_element("css selector", "#toasts button").click()
    dashboard.until(lambda: dashboard.switch(SEARCH).share == 50, "what was undone")


def test_the_steps_are_those_of_the_routes_own_ladder(dashboard: Dashboard) -> None:
    dashboard.log_in()

    def steps(key: RouteKey) -> list[str]:
        return [each.text for each in dashboard.row(key).find_elements("css selector", ".ladder button")]

    assert steps(SEARCH) == ["0", "1", "10", "50", "100"]
    assert steps(USERS) == ["0", "5", "12.5", "100"]
    dashboard.click(USERS, ".ladder button:nth-child(3)")
    dashboard.until(lambda: dashboard.switch(USERS).share == 12.5, "share 12.5 in switches.toml")
    pressed = '.ladder button[aria-pressed="true"]'
    dashboard.until(lambda: dashboard.row(USERS).find_element("css selector", pressed).text == "12.5", "the rung")
    set_switch(dashboard._switches, USERS, ladder=(20.0, 100.0))
    dashboard.until(lambda: steps(USERS) == ["0", "20", "100"], "the ladder of now")


def test_moments_are_told_with_their_day_and_zone(dashboard: Dashboard) -> None:
    dashboard.log_in()
    trip = dashboard.row(RouteKey("POST", "/api/articles")).find_element("css selector", ".trip").text
    assert re.match(r"Tripped \(2026-01-31 \d\d:04:05 [+-]\d\d:\d\d\): 7 of 12", trip), trip


def test_what_is_short_stands_in_one_line_at_a_usual_width(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.driver.set_window_size(1300, 900)
    heights = "return [...document.querySelectorAll('.parity-figure')].map((each) => each.offsetHeight)"
    assert max(dashboard.driver.execute_script(heights)) < 25, "a figure is broken between number and percent"
    middles = """return ["who", "logout"].map((id) => document.getElementById(id).getBoundingClientRect())
        .map((box) => box.y + box.height / 2)"""
    who, logout = dashboard.driver.execute_script(middles)
    assert abs(who - logout) < 2


def test_the_slider_and_the_mirror_follow_the_keyboard(dashboard: Dashboard) -> None:
    from selenium.webdriver.common.keys import Keys

    dashboard.log_in()
    slider = dashboard.row(SEARCH).find_element("css selector", "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT)
    dashboard.until(lambda: dashboard.switch(SEARCH).share == 11, "one percent more")
    dashboard.row(SEARCH).find_element("css selector", ".mirror input").send_keys(Keys.SPACE)
    dashboard.until(lambda: dashboard.switch(SEARCH).mirror == 0, "the mirror off")


def test_what_others_change_shows_up_by_itself(dashboard: Dashboard) -> None:
    dashboard.log_in()
    set_switch(dashboard._switches, SEARCH, share=33, tripped="9 of 10 native answers failed")
    dashboard.until(lambda: "33 %" in dashboard.row(SEARCH).text, "the new share")
    assert "9 of 10 native answers failed" in dashboard.row(SEARCH).text


def test_a_jump_to_many_users_is_asked_about_first(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.click(SEARCH, ".ladder button:nth-child(5)")
    dashboard.until(lambda: dashboard.visible("#ask"), "the question")
    assert "From 10 to 100 % at once?" in dashboard.text("#ask")
    assert "871 of them differ" in dashboard.text("#ask")
    dashboard.driver.find_element("css selector", "#ask .quiet").click()
    dashboard.until(lambda: not dashboard.visible("#ask"), "the end of it")
    dashboard.until(lambda: "10 %" in dashboard.row(SEARCH).text, "the share as it was")
    assert dashboard.switch(SEARCH).share == 10
    dashboard.click(SEARCH, ".ladder button:nth-child(5)")
    dashboard.until(lambda: dashboard.visible("#ask"), "the question")
    dashboard.driver.find_element("css selector", "#ask .primary").click()
    dashboard.until(lambda: dashboard.switch(SEARCH).share == 100, "share 100 in switches.toml")


def test_the_filter_stands_in_the_address(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.driver.find_element("id", "filter").send_keys("post login")
    assert dashboard.driver.current_url.endswith("?q=post+login")
    dashboard.driver.get(f"{dashboard.url}?q=search")
    dashboard.until(lambda: dashboard.visible(".route"), "the routes")
    assert [row.get_attribute("data-route") for row in dashboard.visible(".route")] == [str(SEARCH)]


def test_axe_finds_nothing_for_people_who_do_not_see_or_point(dashboard: Dashboard) -> None:
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")

    def violations() -> list[str]:
        dashboard.driver.execute_script(axe)
        found: list[str] = dashboard.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then((result) => done(result.violations.flatMap("
            "(rule) => rule.nodes.map((node) => `${rule.id}: ${node.target.join(' ')}`))))"
        )
        return found

    dashboard.driver.get("about:blank")
    dashboard.driver.get(dashboard.url)
    dashboard.until(lambda: dashboard.visible("#login"), "the login")
    assert violations() == []
    dashboard.log_in()
    dashboard.until(lambda: dashboard.visible("#advice li"), "the advice")
    dashboard.look_at(SEARCH)
    dashboard.until(lambda: dashboard.visible(".group"), "the groups")
    assert violations() == []
    dashboard.look_at(USERS)
    dashboard.until(lambda: buttons(dashboard).get("Show as pages"), "a page")
    dashboard.press(lambda: buttons(dashboard)["Show as pages"], "the button")
    dashboard.until(lambda: dashboard.visible("iframe"), "the pages")
    dashboard.press(lambda: buttons(dashboard)["Hold …"], "the button")
    assert violations() == []
    dashboard.click(SEARCH, ".ladder button:nth-child(5)")
    dashboard.until(lambda: dashboard.visible("#ask"), "the question")
    assert violations() == []


def test_all_is_rolled_back_with_one_click(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.driver.find_element("id", "rollback-all").click()
    dashboard.until(lambda: all(switch.share == 0 for switch in load(dashboard._switches).values()), "every share at 0")
    dashboard.until(lambda: "4 routes rolled back" in dashboard.text("#toasts"), "the word of it")


def test_the_filter_and_the_toggle_narrow_the_table(dashboard: Dashboard) -> None:
    dashboard.log_in()
    everything = len(dashboard.visible(".route"))
    dashboard.driver.find_element("css selector", "body").send_keys("/")
    assert dashboard.driver.switch_to.active_element.get_attribute("id") == "filter"
    dashboard.driver.switch_to.active_element.send_keys("post login")
    assert [row.get_attribute("data-route") for row in dashboard.visible(".route")] == ["POST /login"]
    dashboard.driver.find_element("id", "filter").send_keys(" no such thing")
    assert "fits the filter" in dashboard.text("#empty")
    dashboard.driver.find_element("id", "filter").send_keys("\ue00c")
    toggle = dashboard.driver.find_element("id", "only-switched")
    toggle.send_keys(" ")
    assert 0 < len(dashboard.visible(".route")) < everything
    toggle.send_keys(" ")


def buttons(dashboard: Dashboard) -> dict[str, Any]:
    return {found.text: found for found in dashboard.visible("#detail button")}


def test_what_differs_stands_below_the_row_both_answers_side_by_side(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.click(SEARCH, ".parity button.link")
    dashboard.until(lambda: dashboard.visible(".group"), "the groups")
    assert "body.items[*].price changed" in dashboard.text(".group summary")
    assert '"price": "9.50"' in dashboard.text(".sides section:nth-child(2)")
    assert "body.took" in dashboard.text(".groups > .hint")
    told = [each.get_attribute("textContent") for each in dashboard.driver.find_elements("css selector", "article")]
    failed = [text for text in told if "Traceback" in text]
    assert failed
    assert all(
        text.startswith("native failed: KeyError: 'price' (async_routes/shop.py:12 in search)") for text in failed
    )
    when = (
        "return [...document.querySelectorAll('.group')].map((each) => each.querySelector('article .hint').textContent)"
    )
    moments = [text.partition(" ·")[0] for text in dashboard.driver.execute_script(when)]
    assert moments == sorted(moments, reverse=True), "the newest first"
    dashboard.click(SEARCH, "button.path")
    dashboard.until(lambda: not dashboard.visible("#detail"), "it closed")


def test_html_answers_are_shown_as_pages_that_can_do_nothing(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.look_at(USERS)
    dashboard.until(lambda: buttons(dashboard).get("Show as pages"), "the button")
    assert not dashboard.visible("iframe")
    dashboard.press(lambda: buttons(dashboard)["Show as pages"], "the button")
    frames = dashboard.visible("iframe")
    assert [frame.get_attribute("title") for frame in frames] == [
        "The page of the native side", "The page of the legacy side",
    ]  # fmt: skip
    assert all(frame.get_attribute("sandbox") == "" for frame in frames)
    for frame, words in zip(frames, ("Hello, Ada", "Welcome, Ada"), strict=True):
        dashboard.driver.switch_to.frame(frame)
        dashboard.until(lambda words=words: dashboard.text("h1") == words, "the page")  # type: ignore[misc]
        found = dashboard.driver.find_element("css selector", "html").get_attribute("outerHTML")
        assert not re.search("<script| onload| style|elsewhere", found)
        dashboard.driver.switch_to.default_content()
    dashboard.press(lambda: buttons(dashboard)["Show as pages"], "the button")
    assert not dashboard.visible("iframe")
    assert "<h1" in dashboard.text(".sides")


def test_three_questions_are_answered_on_the_first_screen(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.until(lambda: dashboard.visible("#advice li"), "what next")
    dashboard.until(lambda: dashboard.visible(".safe .chip"), "is it safe")
    dashboard.until(lambda: dashboard.visible(".differs .hint, .differs .group"), "what differs")
    rows = [row.get_attribute("data-route") for row in dashboard.visible(".route")]
    assert rows[:2] == ["POST /api/articles", "GET /api/articles/{id:int}"], "tripped, then different ones"
    tops = """return ["#advice li", ".safe h3", ".differs h3", ".safe .primary"].map(
        (each) => document.querySelector(each).getBoundingClientRect().bottom)"""
    assert max(dashboard.driver.execute_script(tops)) < 900
    assert "tripped" in dashboard.text(".waits")
    assert "route=" not in dashboard.driver.current_url, "nobody chose it"


def test_parity_is_that_of_the_rung(dashboard: Dashboard) -> None:
    dashboard.log_in()
    parity = dashboard.row(USERS).find_element("css selector", ".parity").text
    assert parity.startswith("100 %\nof 90 on this rung"), (
        "of 3,091 that were compared one differed, on an earlier rung"
    )
    dashboard.look_at(USERS)
    dashboard.until(lambda: "90 requests" in dashboard.text(".safe"), "the gate's figure")
    assert "0 differ" in dashboard.text(".safe")
    assert "with 99 % confidence" in dashboard.text(".safe")


def test_one_step_is_taken_where_the_gates_are_open(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.look_at(SEARCH)
    dashboard.until(lambda: "Step to 50 %" in buttons(dashboard), "the step")
    assert not buttons(dashboard)["Step to 50 %"].is_enabled()
    set_switch(dashboard._switches, SEARCH, share=0.0, mirror=0.0)
    dashboard.until(lambda: "Switch the mirror on" in buttons(dashboard), "the first step")
    dashboard.press(lambda: buttons(dashboard)["Switch the mirror on"], "the button")
    dashboard.until(lambda: dashboard.switch(SEARCH).mirror == 100, "the mirror in switches.toml")
    dashboard.until(lambda: "promote" in dashboard.text('[aria-label="History"]'), "the history")


def test_order_and_route_stand_in_the_address(dashboard: Dashboard) -> None:
    dashboard.log_in()

    def switched() -> list[str]:
        rows = dashboard.visible(".route")
        return [row.get_attribute("data-route") for row in rows if row.find_elements("css selector", "button.path")]

    def sorter(text: str) -> Any:
        return next(each for each in dashboard.visible(".sorter") if each.text.startswith(text))

    dashboard.press(lambda: sorter("Served"), "the head")
    most = ["GET /api/articles/{id:int}", "GET /api/search", "GET /"]
    dashboard.until(lambda: switched()[:3] == most, "the most asked for first")
    assert sorter("Served").find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    dashboard.look_at(USERS)
    assert dashboard.driver.current_url.endswith("?sort=-served&route=GET+%2Fusers%2F%7Bname%7D")
    dashboard.press(lambda: sorter("Parity"), "the head")
    dashboard.until(lambda: switched()[0] == "GET /api/search", "the worst parity first")
    below = "return document.querySelector('.below').previousElementSibling.dataset.route"
    assert dashboard.driver.execute_script(below) == str(USERS), "what is open goes along"
    dashboard.driver.get("about:blank")
    dashboard.driver.get(f"{dashboard.url}?sort=-served&route=GET+/api/search")
    dashboard.until(lambda: dashboard.visible(".safe .chip"), "the gates")
    assert switched()[:3] == most
    assert dashboard.driver.execute_script(below) == str(SEARCH)


def test_the_keyboard_goes_from_route_to_route(dashboard: Dashboard) -> None:
    from selenium.webdriver.common.keys import Keys

    dashboard.log_in()
    first = dashboard.visible("button.path")[0]
    first.send_keys(Keys.ARROW_DOWN)
    second = dashboard.driver.switch_to.active_element
    assert second.text.startswith("GET")
    assert "/api/articles/{id:int}" in second.text
    second.send_keys(Keys.ENTER)
    dashboard.until(lambda: second.get_attribute("aria-expanded") == "true", "it opened")
    assert first.get_attribute("aria-expanded") == "false", "one at a time"
    second.send_keys(Keys.ESCAPE)
    dashboard.until(lambda: not dashboard.visible("#detail"), "it closed")
    assert dashboard.driver.switch_to.active_element == second


def test_of_thousands_of_routes_those_near_the_screen_are_made(dashboard: Dashboard) -> None:
    dashboard.log_in()
    made = dashboard.driver.execute_async_script("""
        const done = arguments[0];
        const asked = window.fetch;
        window.fetch = async (...request) => {
          const answer = await asked(...request);
          if (!String(request[0].url ?? request[0]).endsWith("api/routes")) return answer;
          const data = await answer.json();
          const like = data.routes.find((row) => row.route === "GET /api/search");
          const more = Array.from({length: 2000}, (_, number) => ({...like, route: `GET /many/${number}`}));
          const routes = [...data.routes, ...more];
          return new Response(JSON.stringify({...data, routes}), {headers: {"content-type": "application/json"}});
        };
        const made = (rows) => done([rows.length, rows.filter((row) => !row.classList.contains("later")).length]);
        const look = () => {
          const rows = [...document.querySelectorAll(".route")];
          if (rows.length < 2000) return setTimeout(look, 50);
          requestAnimationFrame(() => requestAnimationFrame(() => made(rows)));
        };
        look();
    """)
    assert made[0] > 2000

    def shown() -> list[str]:
        return [row.get_attribute("data-route") for row in dashboard.visible(".route")]

    assert 10 < made[1] < 100
    dashboard.driver.find_element("id", "filter").send_keys("many/1999")
    dashboard.until(lambda: shown() == ["GET /many/1999"], "it")
    dashboard.until(lambda: dashboard.visible(".route input[type=range]"), "its controls")


def test_a_climb_is_asked_for_shown_and_stopped(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.click(SEARCH, "button.promotion")
    dashboard.look_at(SEARCH)
    dashboard.until(lambda: dashboard.text(".stands"), "where it stands")
    assert "Share 10 %, mirror 100 %" in dashboard.text(".stands")
    assert "Closed by parity: it is not promoted" in dashboard.text(".waits")
    dashboard.press(lambda: buttons(dashboard)["Promote …"], "the button")
    assert dashboard.switch(SEARCH).climb is None  # it asks first
    dashboard.driver.switch_to.active_element.send_keys("it is ready")
    dashboard.press(lambda: buttons(dashboard)["Start the climb"], "the button")
    dashboard.until(lambda: dashboard.switch(SEARCH).climb == "admin token", "the climb in switches.toml")
    dashboard.until(lambda: "climbs, for admin token" in dashboard.text(".stands"), "the climb on the page")
    dashboard.until(lambda: "it is ready" in dashboard.text('[aria-label="History"]'), "the history")
    dashboard.until(lambda: "Climbs" in dashboard.row(SEARCH).text, "the climb in the table")
    dashboard.press(lambda: buttons(dashboard)["Stop the climb"], "the button")
    dashboard.until(lambda: dashboard.switch(SEARCH).climb is None, "its end in switches.toml")
    dashboard.until(lambda: "the climb ended: stop by admin token" in dashboard.text(".stands"), "its end on the page")
    assert dashboard.switch(SEARCH).share == 10


def test_a_hold_needs_a_reason_and_is_released(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.look_at(SEARCH)
    dashboard.until(lambda: "Hold …" in buttons(dashboard), "the buttons")
    dashboard.press(lambda: buttons(dashboard)["Hold …"], "the button")
    dashboard.press(lambda: buttons(dashboard)["Hold at share 0"], "the button")
    assert dashboard.switch(SEARCH).hold is None
    dashboard.driver.switch_to.active_element.send_keys("wrong totals\n")
    dashboard.until(lambda: dashboard.switch(SEARCH).hold == "wrong totals", "the hold in switches.toml")
    assert dashboard.switch(SEARCH).share == 0
    dashboard.until(lambda: "held: wrong totals" in dashboard.text(".stands"), "the hold on the page")
    assert "Promote …" not in buttons(dashboard)
    dashboard.press(lambda: buttons(dashboard)["Release"], "the button")
    dashboard.until(lambda: dashboard.switch(SEARCH).hold is None, "the release")


def test_a_viewer_sees_the_promotion_and_can_not_change_it(dashboard: Dashboard) -> None:
    dashboard.log_in(VIEWER[0])
    dashboard.look_at(SEARCH)
    assert set(buttons(dashboard)) == set()


def test_what_to_move_next_is_told(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.until(lambda: dashboard.visible("#advice li"), "the advice")
    lines = [line.text for line in dashboard.visible("#advice li")]
    assert lines[0].startswith("GET /api/search\n2,000 requests, 180 ms waiting, 10 ms busy each; a native one saves ")
    assert "GET /login" in lines[-1]
    assert "Leave it" in lines[-1]


def test_a_broken_file_is_pointed_out(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard._switches.write_text('["GET /"]\nshare = lots\n')
    dashboard.until(lambda: dashboard.visible("#banner-problem"), "the banner")
    assert "line 2" in dashboard.text("#banner-problem")


def test_a_fleet_is_named_and_what_is_wrong_in_it_is_pointed_out(dashboard: Dashboard) -> None:
    dashboard.log_in()
    dashboard.driver.execute_script("""
        const asked = window.fetch;
        window.fetch = async (...request) => {
          const answer = await asked(...request);
          if (!String(request[0].url ?? request[0]).includes("api/routes")) return answer;
          const outlier = {host: "web-3", route: "GET /api/search", failed: 60, percent: 3, others: 0.05};
          const fleet = {name: "shop", hosts: 20, revision: 41, problem: "It can't be reached.", outliers: [outlier]};
          const data = {...await answer.json(), fleet};
          return new Response(JSON.stringify(data), {headers: {"content-type": "application/json"}});
        };
    """)
    dashboard.until(lambda: dashboard.visible("#banner-fleet"), "the banner")
    assert "can't be reached. This host goes on with what it knows, revision 41" in dashboard.text("#banner-fleet")
    assert "web-3: 3 % of its native answers of GET /api/search failed" in dashboard.text("#banner-outliers")
    assert "fleet shop, 20 hosts" in dashboard.text("#who")


def test_a_gateway_that_is_gone_is_told_and_found_again(
    dashboard: Dashboard, process: Process, server: Callable[[], Process]
) -> None:
    dashboard.log_in()
    process.stop()
    dashboard.until(lambda: dashboard.visible("#banner-offline"), "the word of it")
    assert dashboard.visible(".route")
    server()
    dashboard.until(lambda: not dashboard.visible("#banner-offline"), "the gateway again")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_hangs_over_the_edge(dashboard: Dashboard, width: int, scheme: str) -> None:
    driver = dashboard.driver
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    colours = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
    try:
        dashboard.log_in()
        dashboard.look_at(SEARCH)
        dashboard.until(lambda: dashboard.visible(".group"), "the groups")
        screenshot(driver, f"dashboard-{width}-{scheme}")
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
