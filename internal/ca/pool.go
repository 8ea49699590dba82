// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"crypto/x509"
	"os"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// ReadPool reads a PEM file of the CAs that vouch for clients.
func ReadPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read tls.clientCA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "tls.clientCA: %s holds no certificate", path)
	}
	return pool, nil
}
