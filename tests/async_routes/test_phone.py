"""The portal's pages on a phone: nothing is wider than the screen, and the chat is a press away."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from starlette.routing import Mount

from graft.bridge.mount import LegacyMount
from tests.async_routes.conftest import OpenClient, native_app
from tests.async_routes.test_chat import chat_app, served
from tests.parts.browser import browser, screenshot

PAGES = (
    "/",
    "/search",
    "/search?q=poison",
    "/search?q=xyzzyplugh",
    "/chat",
    "/browse",
    "/articles/7",
    "/about",
    "/login",
)
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
STRETCH = "for (const each of document.querySelectorAll('.card p')) each.append('x'.repeat(300))"
"""What is unbroken in somebody's documentation must not stretch a page either."""


@pytest.mark.slow
def test_no_page_is_wider_than_the_screen(engine: OpenClient, tmp_path: Path, app: Flask) -> None:
    site = native_app(engine, app)
    with chat_app(engine, tmp_path, app) as (chat, _):
        site.router.routes[:0] = chat.routes
    site.router.routes[-1] = Mount("/", app=LegacyMount(app))
    with served(site) as client, browser() as driver:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        for path in PAGES:
            driver.get(f"{client.base_url}{path}")
            driver.execute_script(STRETCH)
            wide = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
            assert wide == [390, 390], path
            assert driver.find_elements("css selector", '.links a[href="/chat"]'), path
            screenshot(driver, f"portal{path.partition('?')[0].replace('/', '-')}")
