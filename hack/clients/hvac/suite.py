# Copyright The Goldkeep Authors
# SPDX-License-Identifier: Apache-2.0
"""hvac's own integration tests, with a Goldkeep in place of the Vault they start.

    suite.py fetch            gets hvac's source, once, by its checksum
    suite.py run GOLDKEEP     runs the tests; GOLDKEEP may also be a Vault

expected.txt names the tests that do not pass, and why. A test that fails and is not
named there, or is named and passes, fails the run. Nothing of hvac's is kept here.
"""

import fnmatch
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import xml.etree.ElementTree

NAME = "python-hvac-2.3.0"
# Debian's copy of the release: the package index of Python leaves the tests out.
SOURCE = "http://deb.debian.org/debian/pool/main/p/python-hvac/python-hvac_2.3.0.orig.tar.xz"
SHA256 = "a4a55ad9bc581d4f0caf038543fbabf4699f2056e3d9d6514d7e712777672d58"
HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "goldkeep", "clients")
ARCHIVE = os.path.join(CACHE, NAME + ".tar.xz")
WORKERS = "4"  # the tests mostly wait


def checked(data):
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        sys.exit(f"{SOURCE} has the checksum {found}, want {SHA256}")
    return data


def fetch():
    if os.path.exists(ARCHIVE):
        return
    print("fetching", NAME)
    with urllib.request.urlopen(SOURCE, timeout=60) as answer:
        data = checked(answer.read(4 << 20))
    os.makedirs(CACHE, exist_ok=True)
    with open(f"{ARCHIVE}.{os.getpid()}", "wb") as f:
        f.write(data)
    os.rename(f.name, ARCHIVE)


def unpack(into):
    if not os.path.exists(ARCHIVE):
        sys.exit(f"{ARCHIVE} is missing: hack/tools fetches it")
    with open(ARCHIVE, "rb") as f:
        checked(f.read())
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(into)
    source = os.path.join(into, NAME)
    # The certificates that come with the tests expired; this is their own script.
    subprocess.run(["bash", "tests/scripts/generate_test_cert.sh"], cwd=source, check=True, capture_output=True)
    return source


def environment(work, server):
    """The tests find "vault" on the path: see launcher.py."""
    with open(os.path.join(HERE, "..", "vault", "go.mod"), encoding="utf-8") as f:
        version = re.search(r"github.com/hashicorp/vault (v[0-9.]+)", f.read()).group(1)
    bin_folder = os.path.join(work, "bin")
    os.mkdir(bin_folder)
    with open(os.path.join(bin_folder, "vault"), "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\nexec /usr/bin/python3 {HERE}/launcher.py "$@"\n')
    os.chmod(f.name, 0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "GOLDKEEP_", "PYTEST_"))}
    return env | {
        "PATH": bin_folder + ":" + env["PATH"], "HOME": work, "PYTHONDONTWRITEBYTECODE": "1",
        "SUITE_SERVER": os.path.abspath(server), "SUITE_LOG": os.path.join(work, "server.log"),
        "SUITE_VAULT": os.path.join(CACHE, "vault-" + version),
    }


def results(path):
    """What became of each test: its name to pass, fail or skip."""
    became = {}
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".removeprefix("tests.integration_tests.")
        what = {child.tag for child in case}
        one = "fail" if what & {"failure", "error"} else "skip" if "skipped" in what else "pass"
        became[name] = "fail" if "fail" in (one, became.get(name)) else one
    return became


def expected():
    """The lines of expected.txt: (fail or skip, pattern)."""
    with open(os.path.join(HERE, "expected.txt"), encoding="utf-8") as f:
        return [tuple(line.split()) for line in f if line.strip() and not line.startswith("#")]


def judge(became):
    """What is otherwise than expected, as lines of text."""
    lines, wrong = expected(), []
    for kind, pattern in lines:
        if not fnmatch.filter(became, pattern):
            wrong.append(f"expected.txt names {pattern}, and there is no such test")
    for name, what in sorted(became.items()):
        want = next((kind for kind, pattern in lines if fnmatch.fnmatchcase(name, pattern)), "pass")
        if what != want:
            wrong.append(f"{name}: {what}, expected {want}")
    return wrong


def run(server):
    with tempfile.TemporaryDirectory(prefix="goldkeep-hvac-") as work:
        source = unpack(work)
        report = os.path.join(work, "report.xml")
        done = subprocess.run(
            ["/usr/bin/python3", "-m", "pytest", "-o", "addopts=", "-q", "-p", "no:cacheprovider", "-n", WORKERS, "--dist", "loadscope",
             "--tb=short", "-W", "ignore", "--junitxml=" + report,
             "--ignore=tests/integration_tests/api/auth_methods/test_ldap.py",  # wants a Java LDAP server
             "tests/integration_tests"],
            cwd=source, env=environment(work, server), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not os.path.exists(report):
            sys.exit(f"{done.stdout}\nthe tests did not run")
        became = results(report)
        wrong = judge(became)
        if wrong:
            print(done.stdout)
    count = {what: sum(1 for one in became.values() if one == what) for what in ("pass", "fail", "skip")}
    print("{pass} passed, {fail} failed, {skip} were skipped".format(**count))
    if wrong:
        sys.exit("\n".join(wrong))
    print("as hack/clients/hvac/expected.txt says")


if __name__ == "__main__":
    if sys.argv[1:] == ["fetch"]:
        fetch()
    elif len(sys.argv) == 3 and sys.argv[1] == "run":
        run(sys.argv[2])
    else:
        sys.exit(__doc__)
