"""Gets what is measured: programs from Debian, the gateway and the peers built from source."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()

# The Debian package of each program.
PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "haproxy": "haproxy", "go": "golang-go", "cmake": "cmake"}
# What each peer needs beyond the origin (nginx) and the load (wrk); pingora builds a zlib.
NEEDS = {"haproxy": ["haproxy"], "go": ["go"], "pingora": ["cmake"]}
RUST_PEERS = ["l4", "hyper-alone", "axum-reverse-proxy", "pingora"]


class Missing(Exception):
    """Something that a peer, or everything, cannot do without."""


def require(program):
    """Sees to it that the program is there: installed from Debian if it can be."""
    if shutil.which(program):
        return
    package = PACKAGES[program]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{program} is not installed (Debian: apt-get install {package})")
    print(f"installing {package}", flush=True)
    quiet = dict(stdout=subprocess.DEVNULL, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    subprocess.run(["apt-get", "-q", "update"], **quiet)
    subprocess.run(["apt-get", "-qy", "install", "--no-install-recommends", package], **quiet)
    if not shutil.which(program):
        raise Missing(f"{program} could not be installed from Debian's {package}")


def build(peer):
    """Makes the peer ready to be started, and returns its program."""
    for program in NEEDS.get(peer, []):
        require(program)
    if peer in ("nginx", "haproxy"):
        return shutil.which(peer)
    print(f"building {peer}", flush=True)
    if peer == "gateway":
        # A profile of its own: the release profile is for a quick first build.
        cargo(ROOT, "measured", "--package", "gateway")
        return TARGET / "measured/gateway"
    if peer in RUST_PEERS:
        cargo(HERE / "rust", "release", "--package", f"peer-{peer}")
        return TARGET / "release" / f"peer-{peer}"
    program = TARGET / "release/peer-go"
    program.parent.mkdir(parents=True, exist_ok=True)
    command(["go", "build", "-o", program, "."], HERE / "go")
    return program


def cargo(folder, profile, *arguments):
    command(["cargo", "build", "--quiet", "--locked", "--profile", profile, "--target-dir", TARGET, *arguments], folder)


def command(words, folder):
    try:
        child = subprocess.Popen(words, cwd=folder, start_new_session=True)
    except OSError as error:
        raise Missing(str(error)) from None
    try:
        if child.wait() != 0:
            raise Missing(f"`{words[0]} {words[1]}` failed")
    finally:
        # Interrupted, it must not go on; a compiler has processes of its own.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()


def versions(peers):
    """What was measured, for the table's caption."""
    lock = (HERE / "rust/Cargo.lock").read_text()
    locked = dict(re.findall(r'name = "(.+)"\nversion = "(.+)"', lock))
    asked = {"nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "go": ["go", "version"]}
    found = {}
    for peer in peers:
        if peer == "gateway":
            words = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]
            found[peer] = subprocess.run(words, capture_output=True, text=True).stdout.strip() or "?"
        elif peer in asked:
            out = subprocess.run(asked[peer], capture_output=True, text=True)
            found[peer] = re.search(r"\d+\.\d+(\.\d+)?", out.stdout + out.stderr).group()
        else:
            crate = {"l4": "tokio", "hyper-alone": "hyper"}.get(peer, peer)
            found[peer] = locked[crate] if crate == peer else f"{crate} {locked[crate]}"
    return found
