"""What tests of faults share."""

from __future__ import annotations

from support.api import Api, Pkce, Tokens, register_for_pkce, tokens
from support.person import Person


def many_sessions(api: Api, person: Person, count: int) -> list[Tokens]:
    """Sessions of one person by way of PKCE, where no limit of guesses slows anybody down."""
    client, logins = register_for_pkce(api), []
    for _ in range(count):
        asked = Pkce(api, client)
        code = person.decide(asked.url, "Approve").callback["code"]
        logins.append(tokens(client, api.token(client, "authorization_code", **asked.members(code))))
    return logins
