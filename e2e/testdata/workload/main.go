// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command workload is the application of the end-to-end tests. "workload ask
// SOCKET" reads "GET PATH" and "FILE PATH" line by line from standard input and
// answers each in one line; "workload env" prints its environment and its signals.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/text/unicode/norm"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "env" {
		environment()
		return
	}
	ask(os.Args[len(os.Args)-1])
}

func environment() {
	for _, v := range os.Environ() {
		fmt.Println(v)
	}
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGTERM)
	fmt.Println("ready")
	for s := range got {
		fmt.Println("signal", s)
		if s == syscall.SIGTERM {
			return
		}
	}
}

func ask(socket string) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	fmt.Println(norm.NFC.String("ready"))
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		what, path, _ := strings.Cut(in.Text(), " ")
		if what == "FILE" {
			text, err := os.ReadFile(path)
			fmt.Printf("%v %q\n", err, text)
			continue
		}
		resp, err := client.Get("http://agent" + path)
		if err != nil {
			fmt.Println("0", err)
			continue
		}
		text, err := io.ReadAll(resp.Body)
		fmt.Println(resp.StatusCode, strings.ReplaceAll(string(text), "\n", " "), err)
		_ = resp.Body.Close()
	}
}
