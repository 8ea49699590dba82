// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command orders is the workload of the demo: a small service that needs the key
// of a payment provider. It knows nothing of Goldkeep but one socket and one file.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

func main() {
	socket := "/run/goldkeep/agent.sock"
	if s := os.Getenv("GOLDKEEP_AGENT_SOCKET"); s != "" {
		socket = s
	}
	// What makes the module golang.org/x/text part of this program.
	greeting := norm.NFC.String("orders") + " (" + language.MustParse("en-GB").String() + ")"
	fmt.Println(greeting, "starts")
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		return
	}
	said := ""
	for {
		now := look(socket)
		if now != said {
			fmt.Println("orders:", now)
			said = now
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// look asks the agent who we are, then reads the secret it left for us.
func look(socket string) string {
	folder, why := identity(socket)
	if folder == "" {
		return "I have no secrets: " + why
	}
	content, err := os.ReadFile(filepath.Join(folder, "stripe.json"))
	if err != nil {
		return "my secret is gone"
	}
	var secret struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(content, &secret); err != nil || secret.Key == "" {
		return "my secret is not what I expected"
	}
	return fmt.Sprintf("I can take payments with the key %s... (%d characters, never printed whole)", secret.Key[:8], len(secret.Key))
}

func identity(socket string) (folder, why string) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://agent/v1/identity")
	if err != nil {
		return "", "the agent does not answer"
	}
	defer resp.Body.Close()
	var answer struct {
		Directory string `json:"directory"`
		State     string `json:"state"`
		Reason    string `json:"reason"`
		Detail    string `json:"detail"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", "the agent's answer is not understood"
	}
	if resp.StatusCode != http.StatusOK || answer.State == "revoked" {
		first, _, _ := strings.Cut(answer.Detail+answer.Reason, "\n")
		return "", first
	}
	return answer.Directory, ""
}
