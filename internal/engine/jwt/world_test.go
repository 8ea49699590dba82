// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"testing"

	"github.com/goldkeep/goldkeep/internal/engine/jwt"
	"github.com/goldkeep/goldkeep/internal/engine/methodtest"
)

type m = methodtest.M

// world is a mount of this method.
type world struct{ *methodtest.World }

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{methodtest.New(t, "oidc", jwt.New)}
}
