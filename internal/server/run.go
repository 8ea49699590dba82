// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/goldkeep/goldkeep/internal/api"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/listener"
	"github.com/goldkeep/goldkeep/internal/wire"
)

// grace is how long requests under way may take when the server stops.
const grace = 10 * time.Second

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// address is how others are told to reach it.
func (s *Server) address() string {
	if s.config.Address != "" {
		return s.config.Address
	}
	return s.URL()
}

// URL is how clients reach it.
func (s *Server) URL() string {
	if s.config.TLS.Off {
		return "http://" + s.reachable()
	}
	return "https://" + s.reachable()
}

// reachable is the address with "all interfaces" replaced by the loopback.
func (s *Server) reachable() string {
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	if ok && addr.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.Port))
	}
	return s.Addr()
}

// CAFile is the certificate clients must trust; "" where it is not ours.
func (s *Server) CAFile() string {
	if s.config.TLS.Off || s.config.TLS.Cert != "" {
		return ""
	}
	return filepath.Join(s.config.Data, "tls", "ca.pem")
}

// Run serves until ctx ends or a part fails, then closes everything.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func(context.Context) error{
		s.serve, s.barrier.Watch, s.identity.Run, s.leases.Run, s.notify.Run, s.tidy, s.keepHouse, s.keepAnchor, s.keepSeal, s.couriers.Run, s.restored, s.keepTLS, s.reload, s.settleFeeds, s.keepFeeds, s.keepVendors, s.api.Run,
	}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part(ctx) }()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-ended)
		cancel() // the first that ends stops all
	}
	return errors.Join(append(errs, s.Close())...)
}

// serve answers HTTP.
func (s *Server) serve(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.config.ForwardedFor.Believe(listener.EndWatches(ctx, s.handler())), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := srv.Shutdown(last)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close() // whoever is still not done would hold us up
		}
		stopped <- err
	}()
	var err error
	limited := listener.Limit(s.listener, listener.MaxConns)
	if s.config.TLS.Off {
		err = srv.Serve(limited)
	} else {
		srv.TLSConfig = s.certificate.Config()
		err = srv.ServeTLS(limited, "", "")
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fault.New(fault.Unavailable, "serve: %w", err)
	}
	return <-stopped
}

// reload reads the certificates and the level of the log again at each SIGHUP. What
// is not understood leaves the old in place.
func (s *Server) reload(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if err := errors.Join(s.certificate.Renew(), s.readLevel()); err != nil {
				s.log.Error("read certificates and log level again", "error", err)
			} else {
				s.log.Info("certificates and log level were read again")
			}
		}
	}
}

// readLevel sets the log's level by the configuration file as it is now.
func (s *Server) readLevel() error {
	if s.config.File == "" || s.config.Level == nil {
		return nil
	}
	c, err := ReadConfig(s.config.File)
	if err != nil {
		return err
	}
	return c.Log.set(s.config.Level)
}

// keepTLS renews the certificate while the server runs.
func (s *Server) keepTLS(ctx context.Context) error {
	every(ctx, 12*time.Hour, func() {
		if err := s.certificate.Renew(); err != nil {
			s.log.Error("renew TLS certificate", "error", err)
		}
	})
	return nil
}

func every(ctx context.Context, beat time.Duration, fn func()) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			fn()
		}
	}
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	bodies := listener.NewBodies(s.knows)
	mux.Handle("/v1/", s.metrics.count("v1", s.flights.Count(bodies.Limit(wire.Handler(s.gate, wire.Options{Logger: s.log, CORS: s.sys.CORS})))))
	mux.Handle("/api/", s.metrics.count("api", bodies.Limit(api.Handler(s.gate, s.log))))
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answerHealth(w, s.notReady(r.Context())) })
	return wire.Uncached(mux)
}

// notReady lists what keeps the server from handing out secrets.
func (s *Server) notReady(ctx context.Context) []string {
	var why []string
	status, err := s.barrier.Status(ctx)
	switch {
	case err != nil:
		return []string{"the store does not answer"}
	case !status.Initialized:
		why = append(why, "not initialized: goldkeep operator init")
	case status.Sealed && s.sealTrouble.Load() != nil:
		why = append(why, "sealed: "+*s.sealTrouble.Load())
	case status.Turns:
		why = append(why, "sealed: goldkeep operator unseal --migrate")
	case status.Sealed:
		why = append(why, "sealed: goldkeep operator unseal")
	}
	for _, part := range s.failing() {
		why = append(why, part+" does not work")
	}
	return why
}

// failing names the parts that do not work.
func (s *Server) failing() []string {
	var parts []string
	if s.audit.Err() != nil {
		parts = append(parts, "audit")
	}
	if s.sealTrouble.Load() != nil {
		parts = append(parts, "seal")
	}
	return parts
}

func answerHealth(w http.ResponseWriter, why []string) {
	status, body := http.StatusOK, map[string]any{"status": "ok"}
	if len(why) > 0 {
		status, body = http.StatusServiceUnavailable, map[string]any{"status": "not ready", "reasons": why}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// tidy removes what has expired, a little at a time.
func (s *Server) tidy(ctx context.Context) error {
	every(ctx, 5*time.Second, func() {
		if s.barrier.Sealed() {
			return
		}
		if err := s.keys.RotateIfDue(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("rotate the sealing key", "error", err)
		}
	})
	return nil
}

// keepHouse clears away deleted namespaces.
func (s *Server) keepHouse(ctx context.Context) error { return s.house.Run(ctx, s.barrier.Sealed) }

// settleFeeds finishes, once, what a crash left between the import of a feed and
// the new verdicts that follow from it.
func (s *Server) settleFeeds(ctx context.Context) error {
	changes, err := s.advisory.Unsettled(ctx)
	if err != nil {
		return unlessEnding(ctx, err)
	}
	if _, err := s.identity.Refresh(ctx, nil); err != nil && ctx.Err() == nil {
		s.log.Error("settle what a crash left", "error", err)
	}
	for _, change := range changes {
		if _, err := s.api.Settle(ctx, change); err != nil && ctx.Err() == nil {
			s.log.Error("settle advisory feed", "feed", change.Feed, "error", err)
		}
	}
	said, err := s.vendors.Unsettled(ctx)
	if err != nil {
		return unlessEnding(ctx, err)
	}
	for _, change := range said {
		if _, err := s.api.SettleVendor(ctx, change); err != nil && ctx.Err() == nil {
			s.log.Error("settle what a vendor says", "vendor", change.Vendor, "error", err)
		}
	}
	<-ctx.Done()
	return nil
}

// unlessEnding drops an error that comes of the server being told to stop.
func unlessEnding(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
