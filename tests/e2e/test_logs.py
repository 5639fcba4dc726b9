"""No secret, code or token in the log, not even at debug level (T64)."""

from __future__ import annotations

from urllib.parse import quote_plus

from support.api import Pkce, Tokens, ok, register_for_pkce, tokens
from support.person import Person

SHORTEST = 8


# Holds: ledger-13, rfc9700-4.9.2-tokens-not-stored
def test_t64_log_of_a_whole_login_holds_no_secret(serve):
    server = serve(environment={"RUST_LOG": "debug"})
    api, login = server.api, server.people[0]
    person = Person(login)
    secrets: dict[str, str] = {"password": login.password, "wrong password": "not-the-right-one"}

    def learn(name: str, given: Tokens) -> None:
        secrets[f"{name}: access token"] = given.access
        secrets[f"{name}: refresh token"] = given.refresh
        secrets[f"{name}: client secret"] = given.client.secret

    # Signing in, wrongly first: what somebody types by mistake is often another password of theirs.
    page = person.open(server.start_url)
    page = person.press(page, "Sign in", user_name=login.user_name, password=secrets["wrong password"])
    assert page.alert

    # Device flow, with a wrong code on the way.
    client = api.register()
    request = api.start_device(client)
    secrets["device code"], secrets["user code"] = request["deviceCode"], request["userCode"]
    secrets["user code as typed"] = request["userCode"].replace("-", "").lower()
    page = person.arrive(request["verificationUri"])
    assert person.press(page, "Continue", user_code="BBBB-BBBB").alert
    assert api.poll(client, request["deviceCode"]).error == "AuthorizationPendingException"
    person.approve_device(request["verificationUriComplete"])
    server.advance_clock(5)
    by_device = tokens(client, api.poll(client, request["deviceCode"]))
    learn("device", by_device)

    # PKCE, with a wrong verifier after the right one.
    client = register_for_pkce(api)
    asked = Pkce(api, client)
    code = person.decide(asked.url, "Approve").callback["code"]
    secrets["authorization code"], secrets["verifier"] = code, asked.verifier
    by_code = tokens(client, api.token(client, "authorization_code", **asked.members(code)))
    learn("pkce", by_code)

    # Refresh, use, refusals, logout.
    renewed = ok(api.refresh(by_device))
    learn("refreshed", Tokens(by_device.client, renewed["accessToken"], renewed["refreshToken"], 0))
    account, role = api.first_role(by_device.access)
    given = ok(api.portal("/federation/credentials", by_device.access, account_id=account, role_name=role))["roleCredentials"]
    secrets["secret access key"], secrets["session token"] = given["secretAccessKey"], given["sessionToken"]
    secrets["forged token"] = "forged-token-in-a-request"
    api.accounts(secrets["forged token"])
    api.refresh(by_device, secrets["forged token"])
    api.post("/token", {**by_device.client.members, "grantType": "refresh_token", "refreshToken": ["forged-token-in-a-request"]})
    api.call("GET", f"{server.oidc_endpoint}/no/such/path?code={quote_plus(code)}")
    page = person.open(server.start_url)
    links = [href for href, text in page.links if role in text or "credentials" in text.lower()]
    person.open(server.oidc_endpoint + links[0])
    api.logout(by_code.access)
    for number, value in enumerate(person.seen_secrets):
        secrets[f"cookie or form secret {number}"] = value
    server.stop()

    log = server.log()
    assert len(log.splitlines()) >= 10, f"nothing was logged at debug level:\n{log}"
    leaked = []
    for name, secret in secrets.items():
        # Cut or encoded secrets are secrets too: the first and the last third are looked for, if long enough to be telling.
        parts = {secret, quote_plus(secret)}
        if len(secret) >= 3 * SHORTEST:
            parts |= {secret[: len(secret) // 3], secret[-(len(secret) // 3) :]}
        hit = next((part for part in parts if len(part) >= SHORTEST and part in log), None)
        if hit:
            line = next(line for line in log.splitlines() if hit in line)
            leaked.append(f"{name}: {line[:300]}")
    assert not leaked, "\n".join(leaked)
