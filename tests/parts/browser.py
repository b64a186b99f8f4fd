"""Chromium without a window, driven over WebDriver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.parts import missing, program

SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions")


@contextmanager
def browser(width: int = 1440, height: int = 1000) -> Iterator[Any]:
    """A fresh profile each time. Skips the test where Chromium, its driver or selenium is missing."""
    try:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        missing("selenium", "pip install -r requirements-dev.txt")
    options = ChromeOptions()
    options.binary_location = program("chromium", "apt install chromium")
    for switch in (*SWITCHES, f"--window-size={width},{height}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(program("chromedriver", "apt install chromium-driver")))
    try:
        yield driver
    finally:
        driver.quit()


def complaints(driver: Any) -> list[str]:
    """What the console says of scripts that fail and of what the page's policy forbids."""
    quiet = ("recommendation", "network")
    return [entry["message"] for entry in driver.get_log("browser") if entry["source"] not in quiet]


def screenshot(driver: Any, name: str) -> None:
    """For people, where GRAFT_TEST_SCREENSHOTS names a folder: what is on the screen now."""
    if folder := os.environ.get("GRAFT_TEST_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(Path(folder, f"{name}.png")))
