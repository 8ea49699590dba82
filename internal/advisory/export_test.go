// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

// CheckRedirect is what the package's own client asks of redirects.
var CheckRedirect = checkRedirect
