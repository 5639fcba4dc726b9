"""AssumeRoleWithWebIdentity as a broker sends it: a form, not signed. The answer is read leniently, as a broker must."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree
from dataclasses import dataclass


@dataclass(frozen=True)
class StsAnswer:
    status: int
    text: str

    def __getitem__(self, name: str) -> str | None:
        """The text of the first element of this name, in whatever namespace and wherever it is."""
        for element in xml.etree.ElementTree.fromstring(self.text).iter():
            if element.tag.rpartition("}")[2] == name:
                return element.text
        return None

    @property
    def refusal(self) -> tuple[int, str | None]:
        return self.status, self["Code"]

    @property
    def keys(self) -> tuple[str, str, str]:
        assert self.status == 200, self
        return self["AccessKeyId"], self["SecretAccessKey"], self["SessionToken"]


def assume_role(endpoint: str, role_arn: str, token: str, **more: str | None) -> StsAnswer:
    """`more` are further parameters, or others; one that is None is left out."""
    fields = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role_arn}
    fields |= {"RoleSessionName": "ada", "WebIdentityToken": token, **more}
    body = urllib.parse.urlencode({name: value for name, value in fields.items() if value is not None})
    request = urllib.request.Request(endpoint + "/", body.encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return StsAnswer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return StsAnswer(error.code, error.read().decode())
