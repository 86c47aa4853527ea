#!/usr/bin/env python3
"""Builds the gateway with a profile of itself: compiled to count, put under the workloads, compiled by the counts (PGO)."""

import sys

sys.dont_write_bytecode = True

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import build
from build import Missing
from load import Load, WORKLOADS
from peers import SCENES, UNABLE, Setting

FOLDER = build.TARGET / "pgo"
# The training needs no quiet machine, only every path of the program in the proportions of the workloads.
SECONDS = 2
# What origin and load need: from Debian, and built.
PROGRAMS = ("nginx", "wrk", "h2load", "openssl")
ORIGINS = ("nginx", "hyper-alone", "ws-load")


def gateway(programs):
    """Returns the program. `programs` are those of the origin and the load."""
    merge, host = profdata(), of_rustc("host")
    counts = FOLDER / "counts"
    shutil.rmtree(counts, ignore_errors=True)
    counting = compiled("generate", f"-Cprofile-generate={counts}", host)
    with tempfile.TemporaryDirectory(prefix="pgo-") as folder:
        for scene in SCENES:
            if ("gateway", scene) not in UNABLE:
                train(Setting(Path(folder), programs | {"gateway": counting}, 4096, scene))
    profile = FOLDER / "gateway.profdata"
    build.command([merge, "merge", "-o", profile, counts], build.ROOT)
    return compiled("use", f"-Cprofile-use={profile}", host)


def compiled(what, flag, host):
    print(f"building gateway, profile: {what}", flush=True)
    flags = f"{os.environ.get('RUSTFLAGS', '')} {flag}".strip()
    # With a target named, build scripts and macros are not compiled with these flags.
    words = ["cargo", "build", "--quiet", "--locked", "--profile", "measured", "--package", "gateway"]
    build.command([*words, "--target", host, "--target-dir", FOLDER / what], build.ROOT, {"RUSTFLAGS": flags})
    return FOLDER / what / host / "measured/gateway"


def train(setting):
    with setting.origin() as origin:
        origin.wait_until_ready()
        load = Load(setting.folder, setting.load_core, setting.programs["ws-load"])
        with setting.proxy("gateway") as process:
            process.wait_until_ready()
            for workload in (w for w in WORKLOADS if w.scene == setting.scene):
                if not load.figures(process.port, workload, SECONDS).requests:
                    raise Missing(f"the gateway has answered nothing of {workload.name}")
            # It writes its counts when it ends by itself.
            os.kill(process.pid, signal.SIGTERM)
            process.child.wait(60)


def of_rustc(what):
    words = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return re.search(rf"^{what}: (.+)$", words, re.MULTILINE)[1]


def profdata():
    """LLVM's own tool, which has to be of the version that rustc has inside."""
    version = of_rustc("LLVM version").split(".")[0]
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    places = [f"{sysroot}/lib/rustlib/{of_rustc('host')}/bin/llvm-profdata", f"llvm-profdata-{version}",
              f"/usr/lib/llvm-{version}/bin/llvm-profdata"]
    build.PACKAGES[places[1]] = f"llvm-{version}"
    for place in places:
        if found := shutil.which(place):
            return found
    try:
        build.require(places[1])
    except Missing:
        raise Missing(f"there is no llvm-profdata {version}: rustup component add llvm-tools") from None
    return shutil.which(places[1])


if __name__ == "__main__":
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    try:
        for program in PROGRAMS:
            build.require(program)
        print(gateway({name: build.build(name) for name in ORIGINS}))
    except Missing as why:
        sys.exit(f"benches/peers/pgo.py: {why}")
    except KeyboardInterrupt:
        sys.exit(130)
