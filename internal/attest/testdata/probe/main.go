// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command probe is the workload of the tests: it does one thing as told by its
// first argument and says so on standard output.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch what {
	case "hold": // SOCKET: connect, say so, stay until standard input ends
		return hold(args[0])
	case "die": // SOCKET: connect and end at once
		_, err := net.Dial("unix", args[0])
		return err
	case "hand": // SOCKET: connect, give the connection to a child, end when told
		return hand(args[0])
	case "child": // stay, with the connection as file 3
		fmt.Println("ready")
		return wait()
	case "ask": // SOCKET: read request paths line by line, answer each
		return ask(args[0])
	case "listen": // SOCKET "NETWORK ADDRESS"...: connect, listen, say at which ports, stay until standard input ends
		return listen(args[0], args[1:])
	case "elsewhere": // PATH SOCKET ...: be a copy of this program at a path that is gone, then listen
		return elsewhere(args[0], args[1:])
	case "sleep": // stay until killed
		fmt.Println("ready")
		select {}
	case "environ": // print the environment, then signals as they come
		return environ(args)
	}
	return fmt.Errorf("what is %q?", what)
}

func wait() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func listen(socket string, addresses []string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	ports := "ports"
	for _, where := range addresses {
		network, address, _ := strings.Cut(where, " ")
		var at net.Addr
		if strings.HasPrefix(network, "udp") {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				return err
			}
			defer c.Close()
			at = c.LocalAddr()
		} else {
			l, err := net.Listen(network, address)
			if err != nil {
				return err
			}
			defer l.Close()
			at = l.Addr()
		}
		_, port, _ := net.SplitHostPort(at.String())
		ports += " " + port + "/" + at.Network()
	}
	fmt.Println(ports)
	return wait()
}

func elsewhere(path string, args []string) error {
	if os.Args[0] == path { // the copy
		if err := os.Remove(path); err != nil {
			return err
		}
		return listen(args[0], args[1:])
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, program, 0o755); err != nil {
		return err
	}
	return syscall.Exec(path, append([]string{path, "elsewhere", path}, args...), os.Environ())
}

func hold(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ready")
	return wait()
}

func hand(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	f, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	child := exec.Command("/proc/self/exe", "child")
	child.ExtraFiles = []*os.File{f}
	child.Stdin, child.Stdout = os.Stdin, os.Stdout
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println("child", child.Process.Pid)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGUSR1)
	<-stop
	return nil
}

// ask speaks HTTP: "METHOD PATH [BODY]" on standard input; the status and the
// body, in one line each, on standard output.
func ask(socket string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for in.Scan() {
		method, rest, _ := strings.Cut(in.Text(), " ")
		if method == "FILE" {
			text, err := os.ReadFile(rest)
			fmt.Printf("%v %q\n", err, text)
			continue
		}
		path, body, _ := strings.Cut(rest, " ")
		req, err := http.NewRequest(method, "http://agent"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			fmt.Println("0", err)
			continue
		}
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		res.Body.Close()
		fmt.Println(res.StatusCode, strings.ReplaceAll(string(text), "\n", " "))
	}
	return in.Err()
}

func environ(args []string) error {
	for _, v := range os.Environ() {
		fmt.Println(v)
	}
	fmt.Println("args", strings.Join(args, " "))
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("ready")
	for s := range got {
		fmt.Println("signal", s)
		if s == syscall.SIGTERM && len(args) == 0 {
			os.Exit(7)
		}
	}
	return nil
}
