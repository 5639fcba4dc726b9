"""A Ceph cluster of one node with an object gateway, whose S3, STS and IAM nobody here wrote."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from .places import TARGET, await_port, free_port, needed

# Starting takes about one second; the rest is for a machine that is busy.
READY_WITHIN = 60.0

# One monitor and one OSD in memory, without a manager. Nobody but this host can reach them, so nothing is authenticated
# or encrypted inside the cluster. Paxos proposes at once: each pool is a round of it, and a gateway makes several.
CONFIGURATION = """
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon_port}/0
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
run_dir = {folder}
crash_dir = {folder}
admin_socket =
pid_file =
log_file = {folder}/$name.log
plugin_dir = {libraries}/ceph
erasure_code_dir = {libraries}/ceph/erasure-code
osd_class_dir = {libraries}/rados-classes
mon_cluster_log_file = {folder}/cluster.log
mon_data = {folder}/mon
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 10000
osd_data = {folder}/osd
osd_objectstore = memstore
osd_crush_update_on_start = false
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off

[client.rgw]
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_thread_pool_size = 16
rgw_rados_pool_pg_num_min = 1
rgw_s3_auth_use_sts = true
rgw_sts_key = sixteen letters.
"""


class Ceph:
    """A cluster in a scratch folder. Its administrator may do everything, and owns the roles and the providers."""

    region = "us-east-1"
    access_key, secret_key = "ADMINISTRATOR", "the administrator's secret"

    def __init__(self, suite: str = "forky", environment: dict[str, str] | None = None):
        """`suite` is the Debian suite whose Ceph it is; `environment` is added to that of its processes."""
        self.installed = needed(TARGET / "ceph" / suite / "run").resolve().parent
        self.environment = {**os.environ, **(environment or {})}
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="doorward-ceph-")), free_port()
        self.processes: list[subprocess.Popen] = []
        try:
            self._start()
        except BaseException:
            self.remove()
            raise

    def _start(self) -> None:
        fsid, mon_port = str(uuid.uuid4()), free_port()
        for part in ("mon", "osd", "rgw"):
            (self.folder / part).mkdir()
        libraries = next((self.installed / "root" / "usr" / "lib").glob("*/ceph")).parent
        facts = {"fsid": fsid, "mon_port": mon_port, "port": self.port, "folder": self.folder, "libraries": libraries}
        (self.folder / "ceph.conf").write_text(CONFIGURATION.format(**facts))

        # The first map has the OSD in it already, and needs no administrator's command to get it there.
        monitor = f"[v2:127.0.0.1:{mon_port}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", monitor, "monmap")
        self._run("osdmaptool", "--createsimple", "1", "osdmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--osdmap", "osdmap")
        self._spawn("ceph-mon", "-f", "-i", "a")
        self._run("ceph-osd", "--mkfs", "-i", "0")
        self._spawn("ceph-osd", "-f", "-i", "0")
        keys = ["--access-key", self.access_key, "--secret-key", self.secret_key]
        caps = ["--caps", "roles=*;oidc-provider=*"]
        self.admin("user", "create", "--uid", "administrator", "--display-name", "Administrator", *keys, *caps)
        gateway = self._spawn("radosgw", "-f", "-n", "client.rgw")
        await_port(self.port, gateway, self.log)

    def command(self, program: str, *words: str) -> list[str]:
        """What runs a program of Ceph's on this cluster."""
        return [str(self.installed / "run"), program, "-c", str(self.folder / "ceph.conf"), *words]

    def _run(self, program: str, *words: str) -> str:
        command = self.command(program, *words)
        surroundings = {"cwd": self.folder, "env": self.environment}
        done = subprocess.run(command, capture_output=True, text=True, timeout=READY_WITHIN, **surroundings)
        assert done.returncode == 0, f"{program} {words}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.log()}"
        return done.stdout

    def _spawn(self, program: str, *words: str) -> subprocess.Popen:
        with (self.folder / f"{program}.out").open("wb") as out:
            surroundings = {"cwd": self.folder, "env": self.environment, "stdout": out, "stderr": out}
            process = subprocess.Popen(self.command(program, *words), **surroundings)
        self.processes.append(process)
        return process

    def admin(self, *words: str) -> str:
        """What `radosgw-admin` says."""
        return self._run("radosgw-admin", "-n", "client.rgw", *words)

    def log(self) -> str:
        """The end of what the cluster's processes said."""
        parts = [*self.folder.glob("*.out"), *self.folder.glob("*.log")]
        return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}" for path in parts)

    @property
    def gateway_log(self) -> str:
        """All that the gateway has logged."""
        return (self.folder / "client.rgw.log").read_text(errors="replace")

    @property
    def endpoint(self) -> str:
        """Where S3, STS and IAM are."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, access_key: str = "", secret_key: str = "", session_token: str | None = None):
        """A boto3 client of the gateway; the administrator's, unless keys are given."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            aws_session_token=session_token,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def as_user(self, access_key: str, secret_key: str) -> Ceph:
        """The same cluster for somebody else, who takes the administrator's place."""
        other = copy.copy(self)
        other.access_key, other.secret_key = access_key, secret_key
        return other

    def create_oidc_provider(self, issuer_url: str, client_ids: list[str], thumbprints: list[str]) -> str:
        """Its ARN, which trust policies name."""
        self.delete_oidc_provider(issuer_url)
        provider = {"Url": issuer_url, "ClientIDList": client_ids, "ThumbprintList": thumbprints}
        return self.client("iam").create_open_id_connect_provider(**provider)["OpenIDConnectProviderArn"]

    def delete_oidc_provider(self, issuer_url: str) -> None:
        """The one of this URL, if there is one: the issuer of an earlier test may have had the same port."""
        iam = self.client("iam")
        # Ceph 18 cannot list what it never had any of.
        with contextlib.suppress(ClientError):
            for known in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
                if known["Arn"].partition(":oidc-provider/")[2] == issuer_url.partition("://")[2]:
                    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=known["Arn"])

    def create_role(self, name: str, trust_policy: dict, permission_policy: dict, **more) -> str:
        """Its ARN."""
        iam = self.client("iam")
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=compact(trust_policy), **more)
        iam.put_role_policy(RoleName=name, PolicyName="permissions", PolicyDocument=compact(permission_policy))
        return made["Role"]["Arn"]

    def remove(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def compact(policy: dict) -> str:
    """Without spaces, which are a + in a form: Ceph 16 leaves that + in the policy."""
    return json.dumps(policy, separators=(",", ":"))
