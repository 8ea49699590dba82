// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

// Rule is one thing a Dockerfile is judged by.
type Rule struct {
	ID       string
	Severity Severity
	Title    string
	Why      string
	Instead  string
}

// The ids of the rules.
const (
	syntax         = "syntax"
	buildkit       = "buildkit"
	noReason       = "ignore-without-reason"
	fromLatest     = "from-latest"
	fromUnpinned   = "from-unpinned"
	fromVariable   = "from-variable"
	fromNotGolden  = "from-not-golden"
	secretValue    = "secret-value"
	secretName     = "secret-name"
	secretArg      = "secret-arg"
	secretFile     = "secret-file"
	secretContext  = "secret-in-context"
	root           = "root"
	compiler       = "compiler-in-last-stage"
	unpinnedSystem = "unpinned-packages"
	unpinnedOther  = "unpinned-dependencies"
	aptRecommends  = "apt-recommends"
	aptCleanup     = "apt-cleanup"
	aptUpdate      = "apt-update-alone"
	addURL         = "add-url"
	pipeToShell    = "pipe-to-shell"
	unverified     = "unverified-download"
	sudo           = "sudo"
	openToAll      = "world-writable"
	remoteLogin    = "remote-login"
	ownerLabel     = "owner-label"
)

// Rules are all rules, in the order of docs/dockerfile.md.
var Rules = []Rule{
	{syntax, High, "An instruction is not understood", "the builder refuses it, or does something else than is meant", "correct the instruction"},
	{fromLatest, High, "The base image has no tag, or the tag latest", "each build may get another image, with other flaws, and nobody can say which", "FROM name:tag@sha256:... (skopeo inspect docker://name:tag prints the digest)"},
	{fromUnpinned, Medium, "The base image has a tag and no digest", "a tag can be moved: what was tested is not what is built on tomorrow", "FROM name:tag@sha256:..., and let a bot raise the digest"},
	{fromVariable, Medium, "The base image is an argument without a default", "the file does not say what the image is built on", "give the ARG a default with tag and digest"},
	{fromNotGolden, High, "The base image is no golden image", "nobody patches it for you, and no rule was asked about it", "FROM a golden image by the digest of one of its channels"},
	{secretValue, High, "A credential is in the file", "whoever can read the file or pull the image has it; it stays in the history for good", "change the credential now; give it at build time with RUN --mount=type=secret, or to the running program"},
	{secretName, High, "A variable named as a secret has a value", "values of ENV and ARG stay in the image and its history for all who can pull it", "RUN --mount=type=secret,id=NAME for the build; for the running program let it be given at run time (docs/agent.md)"},
	{secretArg, Medium, "A build argument is named as a secret", "build arguments stay in the history of the image", "RUN --mount=type=secret,id=NAME"},
	{secretFile, High, "A file that holds credentials is copied into the image", "it can be read by all who can pull the image, also when a later step deletes it", "RUN --mount=type=secret,id=NAME,target=PATH, and name the file in .dockerignore"},
	{secretContext, High, "A copied folder of the build context holds a file with credentials", "COPY of a folder takes it along, unseen", "name the file in .dockerignore"},
	{root, High, "The image runs as root", "a flaw in the program then has all rights in the container, and a better start at leaving it", "end with USER and a number above 0, as in USER 10001"},
	{compiler, Medium, "Compilers stay in the image", "they help an attacker, bring flaws of their own, and are not needed to run", "build in one stage (FROM ... AS build) and COPY --from=build the result into a small one"},
	{pipeToShell, High, "A download is run as it comes", "whoever controls the server, or the way to it, runs code in your build, and nobody can say which", "ADD --checksum=sha256:... URL, or download, check with sha256sum -c, then run"},
	{addURL, High, "ADD of an address without a checksum", "what is at the address tomorrow may be something else", "ADD --checksum=sha256:... URL; for Git: an address that ends in #COMMIT"},
	{unverified, High, "A download or package is not verified", "anybody on the way can change it", "leave the switch out that turns verification off, and use https"},
	{unpinnedOther, Medium, "A dependency is installed without a version", "each build may get another one; a hijacked release comes in at once", "name the version (pip: ==1.2.3, npm and go: @1.2.3, gem: -v 1.2.3), better a lock file with hashes (npm ci, pip install -r --require-hashes)"},
	{unpinnedSystem, Low, "A package of the distribution is installed without a version", "each build may get another one", "name=version, or a base image whose digest is pinned and rebuilt often"},
	{aptUpdate, Medium, "Package lists are fetched in a step of their own", "the step is kept from build to build: later steps install from old lists, without the fixes since", "RUN apt-get update && apt-get install ... in one step"},
	{aptRecommends, Low, "Recommended packages are installed, too", "more programs, more flaws, a larger image", "apt-get install --no-install-recommends"},
	{aptCleanup, Low, "Package lists stay in the image", "they make it larger and are old tomorrow", "end the step with && rm -rf /var/lib/apt/lists/*, or use --mount=type=cache"},
	{sudo, Low, "sudo is used or installed", "a build step is root already; in the image sudo is a way to become root", "leave it out; USER changes the user"},
	{openToAll, Medium, "Everybody may write to a file", "any program in the container can change it", "chmod with the rights that are needed; COPY --chmod, --chown"},
	{remoteLogin, Medium, "The image offers a remote login", "one more door, with credentials of its own; a container is replaced, not repaired", "leave the server out: the engine can run a command in a container"},
	{ownerLabel, Low, "No label says whose the image is", "when something is found, nobody knows whom to call", `LABEL org.opencontainers.image.authors="team@example.com"`},
	{noReason, Medium, "A comment ignores rules without a reason", "nobody can tell later whether the reason still holds; the rules are not ignored", "# goldkeep ignore RULE: reason"},
	{buildkit, Low, "A check of BuildKit itself", "see docs.docker.com/reference/build-checks", "as BuildKit says"},
}

func ruleOf(id string) Rule {
	for _, r := range Rules {
		if r.ID == id {
			return r
		}
	}
	return Rule{ID: id, Severity: High}
}
