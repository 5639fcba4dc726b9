"""A person with a browser that knows HTML forms, cookies and redirects, and nothing else.

The pages promise to work without script; this is the simplest thing that holds them to it. test_browser.py has the
real browser.
"""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit


@dataclass
class Button:
    text: str = ""
    name: str | None = None
    value: str = ""


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[Button] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.alert = self.heading = self.text = ""
        self._form: Form | None = None
        self._open: list[tuple[str, str | None]] = []
        self._void = {"input", "link", "meta", "br", "img", "hr", "path", "circle"}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        if tag not in self._void:
            self._open.append((tag, attributes.get("role")))
        if tag == "form":
            self._form = Form(attributes.get("action", ""), attributes.get("method", "get").upper())
            self.forms.append(self._form)
        elif tag == "input" and self._form and attributes.get("name"):
            self._form.fields[attributes["name"]] = attributes.get("value", "")
        elif tag == "button" and self._form:
            self._form.buttons.append(Button("", attributes.get("name"), attributes.get("value", "")))
        elif tag == "a":
            self.links.append((attributes.get("href", ""), ""))

    def handle_startendtag(self, tag, attrs):
        if tag in self._void:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if tag == "form":
            self._form = None
        while self._open and tag not in self._void:
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        if "style" in tags or "script" in tags:
            return
        self.text += data
        if any(role == "alert" for _, role in self._open):
            self.alert += data
        if "h1" in tags:
            self.heading += data
        if "button" in tags and self._form and self._form.buttons:
            self._form.buttons[-1].text += data
        if "a" in tags and self.links:
            self.links[-1] = (self.links[-1][0], self.links[-1][1] + data)


class Page:
    def __init__(self, status: int, url: str, headers: dict[str, str], html: str):
        self.status, self.url, self.headers, self.html = status, url, headers, html
        read = _Reader(html)
        self.forms, self.links, self.text = read.forms, read.links, read.text
        self.alert, self.heading = read.alert.strip(), read.heading.strip()

    @property
    def location(self) -> str | None:
        """Where the page sends the browser, when that is away from the server."""
        return self.headers.get("location")

    @property
    def callback(self) -> dict[str, str]:
        assert self.location, f"no redirect to the tool: {self}"
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query, keep_blank_values=True).items()}

    def form(self, button: str) -> tuple[Form, Button]:
        for form in self.forms:
            for candidate in form.buttons:
                if candidate.text.strip().startswith(button):
                    return form, candidate
        raise AssertionError(f"no button {button!r}: {self}")

    def has(self, button: str) -> bool:
        return any(each.text.strip().startswith(button) for form in self.forms for each in form.buttons)

    def __repr__(self) -> str:
        return f"Page({self.status} {self.url}\n{' '.join(self.text.split())[:600]})"


class Person:
    def __init__(self, login, trust: ssl.SSLContext | None = None):
        self.login, self.trust = login, trust
        self.cookies: dict[str, str] = {}
        self.seen_secrets: set[str] = set()

    # --- The browser

    def open(self, url: str) -> Page:
        return self._follow("GET", url, b"")

    def press(self, page: Page, button: str, **typed: str) -> Page:
        form, pressed = page.form(button)
        unknown = set(typed) - set(form.fields)
        assert not unknown, f"no inputs {unknown}: {page}"
        values = {**form.fields, **typed}
        if pressed.name:
            values[pressed.name] = pressed.value
        self.seen_secrets.update(value for name, value in form.fields.items() if "csrf" in name or "token" in name)
        url = urljoin(page.url, form.action or page.url)
        if form.method == "GET":
            return self.open(f"{url.split('?')[0]}?{urlencode(values)}")
        return self._follow("POST", url, urlencode(values).encode())

    def _follow(self, method: str, url: str, payload: bytes) -> Page:
        home = urlsplit(url).netloc
        for _ in range(12):
            page = self._request(method, url, payload)
            if page.status not in (301, 302, 303, 307, 308):
                return page
            target = urljoin(url, page.location or "")
            if urlsplit(target).netloc != home:
                return page
            if page.status not in (307, 308):
                method, payload = "GET", b""
            url = target
        raise AssertionError(f"redirected in circles at {url}")

    def _request(self, method: str, url: str, payload: bytes) -> Page:
        parts = urlsplit(url)
        headers = {"Accept": "text/html", "User-Agent": "Mozilla/5.0 (end-to-end)"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method == "POST":
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": f"{parts.scheme}://{parts.netloc}",
                "Sec-Fetch-Site": "same-origin",
            }
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(parts.netloc, timeout=20, context=self.trust)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        try:
            connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), payload or None, headers)
            response = connection.getresponse()
            html = response.read().decode()
            for line in response.headers.get_all("set-cookie") or []:
                self._keep(line)
            return Page(response.status, url, {name.lower(): value for name, value in response.getheaders()}, html)
        finally:
            connection.close()

    def _keep(self, line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            if morsel.value == "" or morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
                self.seen_secrets.add(morsel.value)

    # --- What people do

    def arrive(self, url: str) -> Page:
        """Opens a page, and signs in when it asks for that."""
        page = self.open(url)
        if page.has("Sign in"):
            page = self.press(page, "Sign in", user_name=self.login.user_name, password=self.login.password)
            assert not page.alert, f"{self.login.user_name} cannot sign in: {page.alert}"
        return page

    def device_request(self, url: str) -> Page:
        """From a verification address with the code in it to the page that asks for a decision."""
        page = self.arrive(url)
        if page.has("Continue"):
            page = self.press(page, "Continue")
        assert page.has("Approve") and page.has("Deny"), page
        return page

    def approve_device(self, url: str) -> Page:
        page = self.press(self.device_request(url), "Approve")
        assert page.status == 200 and page.heading, page
        return page

    def deny_device(self, url: str) -> Page:
        page = self.press(self.device_request(url), "Deny")
        assert page.status == 200 and page.heading, page
        return page

    def decide(self, authorize_url: str, button: str) -> Page:
        """Answers an /authorize page; the redirect to the tool is returned, not followed."""
        page = self.arrive(authorize_url)
        return page if page.location else self.press(page, button)

    def deliver(self, page: Page) -> Page:
        """Follows the redirect to the tool that is waiting on loopback."""
        assert page.location, page
        return Person(self.login).open(page.location)
