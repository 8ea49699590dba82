// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// postman is a small SMTP server.
type postman struct {
	listener net.Listener
	config   *tls.Config
	roots    *x509.CertPool

	noTLS    bool              // offers no STARTTLS
	implicit bool              // TLS from the first byte
	replies  map[string]string // verb, or "RCPT address", to what is said instead of yes; "drop" hangs up
	mu       sync.Mutex
	said     []string // by clients
	letters  []string
	clear    bool // a letter or password came without TLS
}

func newPostman(t testing.TB, edit func(*postman)) *postman {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	p := &postman{config: certified.TLS.Clone(), roots: x509.NewCertPool(), replies: map[string]string{}}
	p.config.NextProtos = nil
	p.roots.AddCert(certified.Certificate())
	edit(p)
	p.listener = must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var wait sync.WaitGroup
	t.Cleanup(func() { _ = p.listener.Close(); wait.Wait() })
	wait.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { p.serve(conn) })
		}
	})
	return p
}

// through makes a service send its mail by this server.
func (p *postman) through(o *notify.Options) {
	_, port, _ := net.SplitHostPort(p.listener.Addr().String())
	o.Mail = notify.Mail{Host: "127.0.0.1", From: "goldkeep@example.com", User: "goldkeep", Roots: p.roots, Password: func() (string, error) { return "pass word", nil }}
	o.Mail.Port, _ = strconv.Atoi(port)
	if p.implicit {
		o.Mail.TLS = notify.Implicit
	}
}

func (p *postman) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	secure := p.implicit
	if secure {
		conn = tls.Server(conn, p.config)
	}
	r := bufio.NewReader(conn)
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 postman")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		p.note(line, secure)
		verb, rest, _ := strings.Cut(line, " ")
		reply := p.replies[strings.ToUpper(verb)]
		if to, isTo := strings.CutPrefix(rest, "TO:"); isTo {
			reply = p.replies["RCPT "+strings.Trim(to, "<>")]
		}
		switch {
		case reply == "drop":
			return
		case reply != "" && verb != "DATA":
			say(reply)
			continue
		}
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-postman")
			if !p.noTLS && !secure {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, p.config)
			r, secure = bufio.NewReader(conn), true
		case "AUTH":
			say("235 welcome")
		case "DATA":
			say("354 go on")
			if reply == "drop mid-letter" {
				_, _ = r.ReadString('\n')
				return
			}
			p.letter(r)
			say(map[bool]string{true: "250 taken", false: reply}[reply == ""])
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (p *postman) note(line string, secure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, line)
	if !secure && !strings.HasPrefix(line, "EHLO") && !strings.HasPrefix(line, "STARTTLS") && !strings.HasPrefix(line, "QUIT") {
		p.clear = true
	}
}

func (p *postman) letter(r *bufio.Reader) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letters = append(p.letters, b.String())
}

func (p *postman) got() (letters []string, said string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.letters...), strings.Join(p.said, "\n")
}

// mailed makes a world in which news is mailed, and lets some happen.
func mailed(t *testing.T, p *postman, to string) *world {
	w := newWorld(t, storetest.SQLite(t), p.through)
	w.own("pay", "team", "", digest("a"))
	w.declare("n", "  email: {to: ["+to+"]}\n")
	w.judged(t.Context(), digest("a"), fine, bad)
	w.pass(time.Minute)
	return w
}

func TestMailGoesOutOverTLS(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		p := newPostman(t, func(p *postman) { p.implicit = implicit })
		w := mailed(t, p, "a@example.com, b@example.com")
		d := w.only()
		letters, said := p.got()
		if d.State != notify.Sent || len(letters) != 1 || p.clear || d.Target != "mail to a@example.com, b@example.com" {
			t.Fatalf("delivery %+v, %d letters, in clear: %t", d, len(letters), p.clear)
		}
		has(t, said, "AUTH PLAIN", "MAIL FROM:<goldkeep@example.com>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>")
		letter := must(mail.ReadMessage(strings.NewReader(letters[0])))(t)
		body := string(must(io.ReadAll(quotedprintable.NewReader(letter.Body)))(t))
		has(t, body, "CVE-2026-1 in libssl3", "rebuild on debian-base gold", "golden image pay gold", "goldkeep notification show "+d.ID)
		if subject := letter.Header.Get("Subject"); subject != "[goldkeep] 1 refused (team)" {
			t.Errorf("subject %q", subject)
		}
		if id := letter.Header.Get("Message-ID"); id != "<"+d.ID+"@example.com>" {
			t.Errorf("message id %q", id)
		}
	}
}

func TestWhatSMTPServersSay(t *testing.T) {
	for name, c := range map[string]struct {
		replies map[string]string
		want    notify.DeliveryState
		answer  string
		letters int
	}{
		"taken":               {nil, notify.Sent, "taken", 1},
		"greylisted":          {map[string]string{"RCPT b@example.com": "451 come back later"}, notify.Pending, "come back later", 0},
		"busy":                {map[string]string{"MAIL": "421 busy"}, notify.Pending, `421 "busy"`, 0},
		"one unknown":         {map[string]string{"RCPT a@example.com": "550 no such user"}, notify.Sent, "taken, but not for a@example.com", 1},
		"all unknown":         {map[string]string{"RCPT a@example.com": "550 no", "RCPT b@example.com": "550 no such user"}, notify.Failed, `550 "no such user"`, 0},
		"letter refused":      {map[string]string{"DATA": "554 spam"}, notify.Failed, `554 "spam"`, 1},
		"letter not now":      {map[string]string{"DATA": "452 full"}, notify.Pending, `452 "full"`, 1},
		"wrong password":      {map[string]string{"AUTH": "535 wrong"}, notify.Pending, `535 "wrong"`, 0},
		"hangs up":            {map[string]string{"MAIL": "drop"}, notify.Pending, "send mail", 0},
		"hangs up mid-letter": {map[string]string{"DATA": "drop mid-letter"}, notify.Pending, "send mail", 0},
		"never ends a line":   {map[string]string{"MAIL": "250-" + strings.Repeat("x", 400<<10)}, notify.Pending, "send mail", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPostman(t, func(p *postman) {
				if c.replies != nil {
					p.replies = c.replies
				}
			})
			w := mailed(t, p, "a@example.com, b@example.com")
			d := w.only()
			letters, _ := p.got()
			if d.State != c.want || !strings.Contains(d.Answer, c.answer) || len(letters) != c.letters || p.clear {
				t.Errorf("%s after %q and %d letters, want %s after %q", d.State, d.Answer, len(letters), c.want, c.answer)
			}
			lacks(t, d.Answer, "pass word")
		})
	}
}

func TestAGreylistedMailArrivesLater(t *testing.T) {
	p := newPostman(t, func(p *postman) { p.replies["RCPT a@example.com"] = "451 come back later" })
	w := mailed(t, p, "a@example.com")
	p.mu.Lock()
	delete(p.replies, "RCPT a@example.com")
	p.mu.Unlock()
	w.pass(time.Minute)
	if d := w.only(); d.State != notify.Sent || d.Attempts != 2 {
		t.Errorf("delivery %+v", d)
	}
}

func TestWithoutTLSNothingIsSaid(t *testing.T) {
	// Somebody in between takes STARTTLS out of the offer.
	p := newPostman(t, func(p *postman) { p.noTLS = true })
	w := mailed(t, p, "a@example.com")
	letters, said := p.got()
	if d := w.only(); d.State != notify.Pending || len(letters) != 0 || p.clear || !strings.Contains(d.Answer, "STARTTLS") {
		t.Errorf("delivery %+v, said: %s", w.only(), said)
	}
	// Or answers with a certificate of its own.
	p = newPostman(t, func(*postman) {})
	p.roots = x509.NewCertPool()
	w = mailed(t, p, "a@example.com")
	if _, said = p.got(); w.only().State != notify.Pending || p.clear {
		t.Errorf("delivery %+v, said: %s", w.only(), said)
	}
}

func TestMailSettings(t *testing.T) {
	for _, m := range []notify.Mail{
		{Host: "h"},
		{Host: "h", From: "Goldkeep <g@example.com>"},
		{Host: "h", From: "g@example.com\r\nBcc: x@example.com"},
		{Host: "h", From: "g@example.com", TLS: "off"},
		{Host: "h", From: "g@example.com", Port: 70000},
		{Host: "h", From: "g@example.com", TLS: notify.Insecure, User: "u"},
	} {
		if m.Check() == nil {
			t.Errorf("%+v is taken", m)
		}
	}
	ok(t, notify.Mail{Host: "h", From: "g@example.com", TLS: notify.Insecure}.Check())
	ok(t, notify.Mail{}.Check())
}

func TestHostileNamesStayNames(t *testing.T) {
	const evil = "pay\r\nBcc: eve@example.com\r\n\r\n<!channel> `x` ``` @here <https://evil.example|click> \u202egnp.exe\x00\x1b[31m"
	p := newPostman(t, func(*postman) {})
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), func(o *notify.Options) { p.through(o); r.trusts(o) })
	w.declare("mail", "  owners: [\"*\"]\n  email: {to: [a@example.com]}\n")
	w.declare("chat", "  owners: [\"*\"]\n  webhook: {url: "+r.URL+", format: slack}\n")
	in := notify.Instance{ID: "i", Workload: evil, Owner: evil, Environment: "prod", Node: evil, Image: digest("a"), State: "revoked"}
	ok(t, w.Changed(t.Context(), in, strings.Repeat(evil, 50)))
	ok(t, w.catalog.Want(t.Context(), digest("a"), evil, image.KindImage))
	w.pass(time.Minute)
	letters, _ := p.got()
	if len(letters) != 1 || len(r.got()) != 1 {
		t.Fatalf("%d letters, %d calls: %+v", len(letters), len(r.got()), w.deliveries(""))
	}
	letter := must(mail.ReadMessage(strings.NewReader(letters[0])))(t)
	subject := must(new(mime.WordDecoder).DecodeHeader(letter.Header.Get("Subject")))(t)
	body := string(must(io.ReadAll(quotedprintable.NewReader(letter.Body)))(t))
	if letter.Header.Get("Bcc") != "" || len(letter.Header) != 9 {
		t.Errorf("headers %v", letter.Header)
	}
	for _, line := range strings.Split(body, "\r\n") {
		if strings.HasPrefix(line, "Bcc:") {
			t.Errorf("a name begins a line: %q", line)
		}
	}
	lacks(t, body+subject, "\u202e", "\x00", "\x1b")
	message := r.got()[0].body
	lacks(t, message, "<!", "<https", "@here", "\\u003c!channel", "\\u003chttps", "\u202e", "`x`")
	if n := strings.Count(message, "```"); n != 4 { // a block has two, and comes twice: in text and blocks
		t.Errorf("%d fences: %s", n, message)
	}
}
