# Copyright The Goldkeep Authors
# SPDX-License-Identifier: Apache-2.0
"""What hvac's tests find as "vault": "server" starts the server under test, all else
goes to the stock command.

The tests use what Goldkeep has off by default, so their configuration is given the
settings that turn it on. They kill the server; it dies with this process, but by
SIGTERM, so that nothing of it stays in memory.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def allow(path):
    """Turns on the paths without a token, and audit devices by API."""
    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    config["unsafe_allow_api_audit_creation"] = True
    listeners = config["listener"]
    for listener in listeners if isinstance(listeners, list) else [listeners]:
        listener["tcp"]["disable_unauthed_rekey_endpoints"] = False
        listener["tcp"]["disable_unauthed_generate_root_endpoints"] = False
    changed = path.removesuffix(".json") + ".goldkeep.json"
    with open(changed, "w", encoding="utf-8") as f:
        json.dump(config, f)
    return changed


def main(args):
    if args[:1] != ["server"]:
        os.execv(os.environ["SUITE_VAULT"], ["vault", *args])
    if os.path.basename(os.environ["SUITE_SERVER"]) != "vault":
        args = ["-config=" + allow(a.removeprefix("-config=")) if a.startswith("-config=") else a for a in args]
    libc = ctypes.CDLL(None)
    with open(os.environ["SUITE_LOG"], "ab") as log:
        server = subprocess.Popen([os.environ["SUITE_SERVER"], *args], stdout=log, stderr=log,
                                  preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM))
    sys.exit(server.wait())


main(sys.argv[1:])
