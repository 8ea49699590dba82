// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// How mail is protected on its way to the SMTP server.
const (
	StartTLS = "starttls" // the default: TLS or nothing is sent
	Implicit = "implicit" // TLS from the first byte
	Insecure = "insecure-none"
)

// Mail says through which SMTP server mail goes; without Host none does.
type Mail struct {
	Host string
	Port int    // default 587, with Implicit 465
	TLS  string // StartTLS, Implicit or Insecure
	From string // address digests come from
	User string // "": the server takes mail without one
	// Password is asked for at each connection: it may have changed.
	Password func() (string, error)
	Roots    *x509.CertPool // nil: those of the machine
}

// Check finds what is wrong with the settings.
func (m Mail) Check() error {
	if m.Host == "" {
		return nil
	}
	switch {
	case !isAddress(m.From):
		return fault.New(fault.Invalid, "notifications.smtp.from must be a plain mail address").WithHint("write it like goldkeep@example.com")
	case !slices.Contains([]string{"", StartTLS, Implicit, Insecure}, m.TLS):
		return fault.New(fault.Invalid, "notifications.smtp.tls must be %s, %s or %s", StartTLS, Implicit, Insecure)
	case m.Port < 0 || m.Port > 65535:
		return fault.New(fault.Invalid, "notifications.smtp.port must be between 1 and 65535")
	case m.User != "" && m.TLS == Insecure:
		return fault.New(fault.Invalid, "notifications.smtp: a password is not sent without TLS").WithHint("leave user out, or set tls: starttls")
	}
	return nil
}

func (m Mail) address() string {
	port := m.Port
	if port == 0 {
		port = 587
		if m.TLS == Implicit {
			port = 465
		}
	}
	return net.JoinHostPort(m.Host, strconv.Itoa(port))
}

// The limits of one mail.
const (
	mailTime  = 30 * time.Second
	maxSpoken = 256 << 10 // bytes the SMTP server may say
)

// mail sends a digest to some addresses, as one mail.
func (s sender) mail(ctx context.Context, to []string, d Digest) outcome {
	if s.smtp.Host == "" {
		return outcome{answer: "the server has no SMTP server to send mail by: set notifications.smtp in its configuration", err: true}
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	refused, err := s.smtp.send(ctx, to, s.letter(to, d))
	switch {
	case err != nil:
		return outcome{answer: describe("send mail", err), err: true, never: permanent(err)}
	case len(refused) > 0:
		return outcome{answer: "taken, but not for " + strings.Join(refused, ", ")}
	}
	return outcome{answer: "taken"}
}

// permanent reports whether trying again would change nothing. That the server
// does not let us in may change: somebody mends the password.
func permanent(err error) bool {
	var said *textproto.Error
	return errors.As(err, &said) && said.Code >= 550 && said.Code < 560
}

// send speaks SMTP. It returns the addresses the server will never take, unless it
// takes none.
func (m Mail) send(ctx context.Context, to []string, letter []byte) (refused []string, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.address())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if at, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(at); err != nil {
			return nil, err
		}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c, err := m.greet(ctx, conn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err := c.Mail(m.From); err != nil {
		return nil, err
	}
	for _, address := range to {
		err := c.Rcpt(address)
		if err != nil && (!permanent(err) || len(refused) == len(to)-1) {
			return nil, err // all get it, sooner or later, or nobody does
		}
		if err != nil {
			refused = append(refused, address)
		}
	}
	w, err := c.Data()
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(letter); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	_ = c.Quit() // it has said that it took the mail
	return refused, nil
}

// greet begins to speak: TLS, then who we are.
func (m Mail) greet(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	config := &tls.Config{ServerName: m.Host, RootCAs: m.Roots, MinVersion: tls.VersionTLS12}
	conn = &shortConn{conn, maxSpoken}
	if m.TLS == Implicit {
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	c, err := smtp.NewClient(conn, m.Host)
	if err != nil {
		return nil, err
	}
	if m.TLS == "" || m.TLS == StartTLS {
		if offered, _ := c.Extension("STARTTLS"); !offered {
			return nil, errors.New("the server offers no STARTTLS, and nothing is sent in clear")
		}
		if err := c.StartTLS(config); err != nil {
			return nil, err
		}
	}
	if m.User == "" {
		return c, nil
	}
	password, err := m.Password()
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	return c, c.Auth(smtp.PlainAuth("", m.User, password, m.Host))
}

// shortConn hangs up on a server that says too much.
type shortConn struct {
	net.Conn
	left int
}

func (c *shortConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the server says too much")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// letter is the mail: headers of one line each, and plain text.
func (s sender) letter(to []string, d Digest) []byte {
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	_, host, _ := strings.Cut(s.smtp.From, "@")
	header("From", "Goldkeep <"+s.smtp.From+">")
	header("To", strings.Join(to, ",\r\n "))
	header("Subject", mime.QEncoding.Encode("utf-8", "[goldkeep] "+d.headline()))
	header("Date", d.To.UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+d.ID+"@"+host+">")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	for _, line := range d.lines() {
		_, _ = io.WriteString(w, line+"\r\n") // a buffer takes everything
	}
	_, _ = io.WriteString(w, "\r\nMore: goldkeep notification show "+d.ID+"\r\n")
	_ = w.Close()
	return b.Bytes()
}
