"""``make env``: the secrets of a new installation, generated into ``.env`` for docker compose."""

import base64
import os
import secrets
import sys
from pathlib import Path

from include.errors import PipelineError, RequestRefused

REPOSITORY = Path(__file__).resolve().parents[2]


def make_env(template: Path, target: Path) -> list[str]:
    """Write ``target``: the template with a new secret behind every ``NAME=`` that has no value; returns their names.

    The file is for its owner only (0600). A Fernet key has the form Fernet asks for, the others are 64 characters.
    Raises RequestRefused, with nothing changed, if the target exists: its secrets are in use.
    """
    lines = template.read_text(encoding="utf-8").splitlines()
    made = [line.removesuffix("=") for line in lines if line.endswith("=") and not line.startswith("#")]
    text = "".join(f"{line}{_secret(line) if line.removesuffix('=') in made else ''}\n" for line in lines)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RequestRefused(
            f"There is a {target.name} already; its secrets are in use.",
            next_step="Edit it. To really start anew, together with a new metadata database, move it away first.",
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return made


def _secret(line: str) -> str:
    if line.startswith("FERNET_KEY"):
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(48)


if __name__ == "__main__":
    try:
        names = make_env(REPOSITORY / ".env.example", REPOSITORY / ".env")
    except PipelineError as error:
        sys.exit(f"FAILED: {error.what}\nNext step: {error.next_step}")
    print(f".env has new secrets: {', '.join(names)}. Correct its settings before docker compose up.")
