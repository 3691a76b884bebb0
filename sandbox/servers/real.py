"""The same services by the programs most of the world runs: Samba's smbd and OpenSSH's sshd, where installed.

Both are children of this process with a configuration of their own in a temporary directory. No system account is made
or changed and no system service touched; they serve the user who runs this, root or not.
"""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sandbox.servers.base import HOST, Server
from sandbox.servers.child import Child, accepts_connections, free_port
from sandbox.servers.ssh import make_key, public_key

# A normal user's PATH often lacks the directories of daemons.
SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class Samba(Server):
    """As :class:`sandbox.servers.smb.SmbServer`, with SMB 2 and 3 and encryption.

    Samba wants a Unix account behind every user: ``user`` is mapped to the one that runs this.
    """

    def __init__(self, shares: Mapping[str, Path], *, user: str, password: str, port: int = 0) -> None:
        super().__init__(port=port)
        self.shares, self.user, self.password = dict(shares), user, password

    @staticmethod
    def available() -> bool:
        return all(shutil.which(program, path=SBIN) for program in ("smbd", "pdbedit"))

    def _start(self) -> None:
        self.port = self.port or free_port()
        directory = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="samba-")))
        account = getpass.getuser()
        users = directory / "users"
        users.write_text(f'{account} = "{self.user}"\n')
        config = directory / "smb.conf"
        config.write_text(self._config(directory, users))
        subprocess.run(
            [_program("pdbedit"), "-s", config, "--create", "--password-from-stdin", "-u", account],
            input=f"{self.password}\n{self.password}\n",
            text=True,
            check=True,
            capture_output=True,
        )
        command = [_program("smbd"), "--foreground", "--no-process-group", "--debug-stdout", "-s", str(config)]
        child = Child(command, log=directory / "log")
        self._running.callback(child.stop)
        child.wait_until(lambda: accepts_connections(self.port))

    def _config(self, directory: Path, users: Path) -> str:
        settings = {
            "server role": "standalone server",
            "workgroup": "SANDBOX",
            "smb ports": self.port,
            "interfaces": f"{HOST}/8",
            "bind interfaces only": "yes",
            "disable netbios": "yes",
            "disable spoolss": "yes",
            "load printers": "no",
            "map to guest": "never",
            "username map": users,
            "passdb backend": f"tdbsam:{directory}/passdb.tdb",
            "usershare path": "",
            "log file": directory / "log",
        }
        settings |= dict.fromkeys(
            ("private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir"),
            directory / "state",
        )
        (directory / "state").mkdir()
        sections = {"global": settings} | {
            name: {"path": path.resolve(), "read only": "no"} for name, path in self.shares.items()
        }
        return "".join(
            f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
            for section, values in sections.items()
        )


class OpenSsh(Server):
    """As :class:`sandbox.servers.ssh.SshServer`, with keys only.

    ``user`` is always the account that runs this. ``root`` is where SFTP starts, not a prison (that would take a chain
    of directories only root can write to): relative paths mean the same on both servers, absolute ones do not.
    """

    def __init__(self, root: Path, *, keys: Path, port: int = 0) -> None:
        super().__init__(port=port)
        self.root, self.user = root, getpass.getuser()
        self._host_key_file = make_key(keys / "host_key")
        self.client_key = make_key(keys / "client_key")

    @staticmethod
    def available() -> bool:
        return shutil.which("sshd", path=SBIN) is not None

    @property
    def host_key(self) -> str:
        return public_key(self._host_key_file)

    def _start(self) -> None:
        self.port = self.port or free_port()
        directory = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="sshd-")))
        authorized = directory / "authorized_keys"
        authorized.write_text(public_key(self.client_key) + "\n")
        config = directory / "sshd_config"
        config.write_text(
            f"""
            ListenAddress {HOST}:{self.port}
            HostKey "{self._host_key_file}"
            PidFile none
            AuthorizedKeysFile "{authorized}"
            AuthenticationMethods publickey
            PermitRootLogin prohibit-password
            StrictModes no
            UsePAM no
            AllowTcpForwarding local
            Subsystem sftp internal-sftp -d {self.root}
            """
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists; a service of the system makes the same
        child = Child([_program("sshd"), "-D", "-e", "-f", config], log=directory / "log")
        self._running.callback(child.stop)
        child.wait_until(lambda: accepts_connections(self.port))


def _program(name: str) -> str:
    return shutil.which(name, path=SBIN) or name
