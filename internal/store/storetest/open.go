// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to make databases

	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/postgres"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// SQLite opens a new embedded store in a folder of the test's.
func SQLite(t testing.TB) store.Store {
	t.Helper()
	return SQLiteAt(t, filepath.Join(t.TempDir(), "goldkeep.db"))
}

// SQLiteAt opens the embedded store at a path.
func SQLiteAt(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Postgres opens a store in a new database of a real PostgreSQL server, started
// once for the test program.
func Postgres(t testing.TB) store.Store {
	t.Helper()
	return PostgresAt(t, PostgresDSN(t))
}

// PostgresAt opens a store on a database made by PostgresDSN: two stores on one
// DSN are two nodes.
func PostgresAt(t testing.TB, dsn string) store.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Each runs a test on both variants.
func Each(t *testing.T, test func(t *testing.T, s store.Store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Log("short run: PostgreSQL is left to the full run")
			return
		}
		test(t, Postgres(t))
	})
}

var (
	serverOnce sync.Once
	server     postgresServer
	serverErr  error
	databases  atomic.Int64
)

// postgresServer is a running server; it ends when alive is closed, which is when
// this process ends.
type postgresServer struct {
	dir   string
	alive *os.File
}

// PostgresDSN makes a new database and returns how to connect to it.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	serverOnce.Do(func() { server, serverErr = startPostgres() })
	if serverErr != nil {
		t.Fatal(serverErr)
	}
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), databases.Add(1))
	db, err := sql.Open("pgx", dsn(server.dir, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return dsn(server.dir, name)
}

func dsn(dir, database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {dir}, "user": {"postgres"}}.Encode()
}

// startPostgres starts a server that listens on a unix socket only. It ends by
// itself when this process has ended: a shell waits for the pipe it holds.
func startPostgres() (postgresServer, error) {
	none := postgresServer{}
	bin, err := postgresBin()
	if err != nil {
		return none, err
	}
	dir, err := os.MkdirTemp("", "gkpg")
	if err != nil {
		return none, err
	}
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		if err := giveTo(dir, attr); err != nil {
			return none, err
		}
	}
	alive, ours, err := os.Pipe()
	if err != nil {
		return none, err
	}
	script := fmt.Sprintf(`cd %[1]s && trap '' INT TERM HUP
%[2]s/initdb -D data -U postgres -A trust -E UTF8 --no-sync >init.log 2>&1 &&
%[2]s/pg_ctl -D data -w -o "-c listen_addresses='' -c unix_socket_directories=%[1]s -c max_connections=200" -l server.log start >/dev/null 2>&1 && echo ready
cat <&3 >/dev/null
%[2]s/pg_ctl -D data -m immediate stop >/dev/null 2>&1; rm -rf %[1]s`, dir, bin)
	cmd := exec.Command("/bin/sh", "-c", script)
	attr.Setsid = true
	cmd.SysProcAttr, cmd.ExtraFiles, cmd.Dir = attr, []*os.File{alive}, "/"
	out, err := cmd.StdoutPipe()
	if err != nil {
		return none, err
	}
	if err := cmd.Start(); err != nil {
		return none, err
	}
	_ = alive.Close()
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || !strings.HasPrefix(string(line), "ready") {
		log, _ := os.ReadFile(filepath.Join(dir, "init.log"))
		return none, fmt.Errorf("PostgreSQL did not start: %s", log)
	}
	return postgresServer{dir: dir, alive: ours}, nil
}

func postgresBin() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			if _, err := os.Stat(filepath.Join(filepath.Dir(real), "postgres")); err == nil {
				return filepath.Dir(real), nil
			}
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("these tests need a real PostgreSQL: apt-get install -y postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// giveTo hands the folder to an unprivileged user: PostgreSQL refuses root.
func giveTo(dir string, attr *syscall.SysProcAttr) error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(dir, uid, gid)
	}
	return fmt.Errorf("no unprivileged user to run PostgreSQL as")
}
