"""moto's server: the API of AWS, of which it checks little and remembers everything."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from .places import await_port, free_port


@dataclass(frozen=True)
class Call:
    """A request that it got."""

    headers: dict[str, str]
    fields: dict[str, str]

    @property
    def is_signed(self) -> bool:
        return "Authorization" in self.headers


class Moto:
    region = "us-east-1"

    def __init__(self):
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="doorward-moto-")), free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            await_port(self.port, self.process, (self.folder / "log").read_text)
            self.reset()
        except BaseException:
            self.remove()
            raise

    @property
    def endpoint(self) -> str:
        """Where STS, IAM, S3 and all the others are."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, access_key: str = "anybody", secret_key: str = "anything", token: str | None = None):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def reset(self) -> None:
        """Forgets users, buckets and calls, and believes any signature again."""
        self._say("reset")
        self._say("reset-auth", "inf")
        self._say("recorder/reset-recording")
        self._say("recorder/start-recording")

    def check_signatures(self) -> None:
        """From now on a signed request must be of a user of `create_user`, and allowed by that user's policy.

        One that is not signed at all, as AssumeRoleWithWebIdentity is, then gets a 500.
        """
        self._say("reset-auth", "0")

    def create_user(self, name: str, *actions: str) -> tuple[str, str]:
        """The access key and the secret key of a user who may do these."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def calls(self, action: str) -> list[Call]:
        """The calls of this action of STS or IAM since the reset, oldest first."""
        found = []
        for line in self._say("recorder/download-recording", get=True).splitlines():
            request = json.loads(line)
            body = request["body"] or ""
            text = base64.b64decode(body).decode() if request["body_encoded"] else body
            fields = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
            if fields.get("Action") == action:
                found.append(Call(request["headers"], fields))
        return found

    def _say(self, path: str, body: str = "", get: bool = False) -> str:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.endpoint}/moto-api/{path}", None if get else body.encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def remove(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
