// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package totp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// TestVectors are those of RFC 6238, appendix B.
func TestVectors(t *testing.T) {
	seed := "12345678901234567890"
	for _, c := range []struct {
		unix                 int64
		sha1, sha256, sha512 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	} {
		for algorithm, want := range map[string]string{"SHA1": c.sha1, "SHA256": c.sha256, "SHA512": c.sha512} {
			size := map[string]int{"SHA1": 20, "SHA256": 32, "SHA512": 64}[algorithm]
			k := key{Secret: []byte(strings.Repeat(seed, 4)[:size]), Period: 30, Algorithm: algorithm, Digits: 8}
			if got := k.codes().At(k.codes().Counter(time.Unix(c.unix, 0))); got != want {
				t.Errorf("%s at %d: %s, want %s", algorithm, c.unix, got, want)
			}
		}
	}
}

// unsealed opens a barrier over a store, with the same key for all.
func unsealed(t *testing.T, s store.Store) barrier.Space {
	t.Helper()
	b, err := barrier.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	file := bytes.Repeat([]byte{9}, 32)
	if _, err := b.Init(t.Context(), barrier.InitOptions{KeyFile: file}); err != nil && !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if err := b.UnsealWithFile(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return b.Space().Sub("totp")
}

var noon = time.Date(2026, 11, 22, 12, 0, 10, 0, time.UTC)

// call sends one request; the answer's data comes back as JSON.
func call(t *testing.T, e engine.Engine, op policy.Capability, path, body string, now time.Time) (map[string]any, error) {
	t.Helper()
	req := &engine.Request{Op: op, Path: path, Now: now}
	if body != "" {
		if err := json.Unmarshal([]byte(body), &req.Data); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := e.Handle(t.Context(), req)
	if err != nil || resp == nil {
		return nil, err
	}
	raw, err := json.Marshal(resp.Data)
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]any
	return data, json.Unmarshal(raw, &data)
}

func TestKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s store.Store) {
		e := New(engine.Mount{}, unsealed(t, s))
		ok := func(op policy.Capability, path, body string) map[string]any {
			t.Helper()
			data, err := call(t, e, op, path, body, noon)
			if err != nil {
				t.Fatalf("%s %s: %v", op, path, err)
			}
			return data
		}
		made := ok(policy.Update, "keys/made", `{"generate":true,"issuer":"Gold Keep","account_name":"me@example.com","period":60,"algorithm":"SHA256","digits":8,"qr_size":300}`)
		picture, err := base64.StdEncoding.DecodeString(made["barcode"].(string))
		if err != nil {
			t.Fatal(err)
		}
		if img, err := png.Decode(bytes.NewReader(picture)); err != nil || img.Bounds().Dx() != 300 {
			t.Errorf("the picture: %v", err)
		}
		ok(policy.Update, "keys/twin", `{"url":"`+made["url"].(string)+`"}`)
		if a, b := ok(policy.Read, "code/made", "")["code"], ok(policy.Read, "code/twin", "")["code"]; a != b || len(a.(string)) != 8 {
			t.Errorf("the same key gives %v and %v", a, b)
		}
		want := map[string]any{"issuer": "Gold Keep", "account_name": "me@example.com", "period": "1m0s", "algorithm": "SHA256", "digits": 8.0}
		for _, name := range []string{"made", "twin"} {
			if got := ok(policy.Read, "keys/"+name, ""); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s is %v", name, got)
			}
		}
		if got := ok(policy.Update, "keys/hidden", `{"generate":true,"issuer":"a","account_name":"b","exported":false}`); got != nil {
			t.Errorf("a key not to be exported: %v", got)
		}
		if got := ok(policy.Update, "keys/plain", `{"generate":true,"issuer":"a","account_name":"b","qr_size":0}`); len(got) != 1 {
			t.Errorf("without a picture: %v", got)
		}
		ok(policy.Update, "keys/given", `{"key":"gezd gnbv gy3t qojq gezd gnbv gy3t qojq"}`)
		if got := fmt.Sprint(ok(policy.List, "keys/", "")["keys"]); got != "[given hidden made plain twin]" {
			t.Errorf("keys %s", got)
		}
		ok(policy.Delete, "keys/given", "")
		if got := ok(policy.Read, "keys/given", ""); got != nil {
			t.Errorf("a deleted key: %v", got)
		}
	})
}

func TestRefused(t *testing.T) {
	e := New(engine.Mount{}, unsealed(t, storetest.SQLite(t)))
	for _, body := range []string{
		`{}`, `{"key":"1"}`, `{"key":"a b c"}`, `{"generate":true}`, `{"generate":true,"issuer":"a"}`,
		`{"generate":true,"issuer":"a","account_name":"b","key":"GEZDGNBV"}`, `{"generate":true,"issuer":"a","account_name":"b","key_size":0}`,
		`{"generate":true,"issuer":"a","account_name":"b","qr_size":-1}`, `{"generate":true,"issuer":"a","account_name":"b","qr_size":5}`,
		`{"key":"GEZDGNBV","digits":7}`, `{"key":"GEZDGNBV","skew":2}`, `{"key":"GEZDGNBV","period":0}`, `{"key":"GEZDGNBV","algorithm":"MD5"}`,
		`{"url":"https://example.com"}`, `{"url":"otpauth://hotp/a?secret=GEZDGNBV"}`, `{"url":"otpauth://totp/a"}`, `{"url":"otpauth://totp/a?secret=GEZDGNBV&digits=x"}`,
	} {
		if _, err := call(t, e, policy.Update, "keys/x", body, noon); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, op := range []policy.Capability{policy.Read, policy.Update} {
		if _, err := call(t, e, op, "code/none", `{"code":"123456"}`, noon); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s of no key: %v", op, err)
		}
	}
}

// TestCodes checks a code now, a period later and two, and that none counts twice.
func TestCodes(t *testing.T) {
	e := New(engine.Mount{}, unsealed(t, storetest.SQLite(t)))
	for skew, later := range []string{"false", "true"} {
		name := fmt.Sprint("k", skew)
		if _, err := call(t, e, policy.Update, "keys/"+name, fmt.Sprintf(`{"key":"GEZDGNBVGY3TQOJQ","skew":%d}`, skew), noon); err != nil {
			t.Fatal(err)
		}
		right := func(code string, now time.Time) string {
			t.Helper()
			got, err := call(t, e, policy.Update, "code/"+name, `{"code":"`+code+`"}`, now)
			if err != nil {
				return "refused"
			}
			return fmt.Sprint(got["valid"])
		}
		shown, err := call(t, e, policy.Read, "code/"+name, "", noon)
		if err != nil {
			t.Fatal(err)
		}
		code := shown["code"].(string)
		for _, c := range []struct {
			code string
			now  time.Time
			want string
		}{
			{"000000", noon, "false"},
			{code, noon.Add(time.Minute), "false"},
			{code, noon.Add(-30 * time.Second), later},
			{code, noon, map[string]string{"true": "refused", "false": "true"}[later]},
			{code, noon, "refused"},
			{code, noon.Add(time.Minute), "false"},
		} {
			if got := right(c.code, c.now); got != c.want {
				t.Errorf("skew %d: %s at %s: %s, want %s", skew, c.code, c.now.Format(time.TimeOnly), got, c.want)
			}
		}
	}
}

// TestGuessing sends wrong codes, many at once: after ten, not even the right code is
// taken, until five minutes have gone. A right code forgives.
func TestGuessing(t *testing.T) {
	e := New(engine.Mount{}, unsealed(t, storetest.SQLite(t)))
	if _, err := call(t, e, policy.Update, "keys/k", `{"key":"GEZDGNBVGY3TQOJQ"}`, noon); err != nil {
		t.Fatal(err)
	}
	try := func(code string, now time.Time) string {
		got, err := call(t, e, policy.Update, "code/k", `{"code":"`+code+`"}`, now)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(got["valid"])
	}
	code := func(now time.Time) string {
		t.Helper()
		shown, err := call(t, e, policy.Read, "code/k", "", now)
		if err != nil {
			t.Fatal(err)
		}
		return shown["code"].(string)
	}
	for range maxTries - 1 {
		if got := try("000000", noon); got != "false" {
			t.Fatalf("a wrong code: %s", got)
		}
	}
	if got := try(code(noon), noon); got != "true" {
		t.Fatalf("the right code after %d wrong ones: %s", maxTries-1, got)
	}
	var looked atomic.Int64
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if try("000000", noon) == "false" {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if looked.Load() != maxTries {
		t.Errorf("%d wrong codes were looked at, want %d", looked.Load(), maxTries)
	}
	later := noon.Add(tryAgain - time.Second)
	if got := try(code(later), later); !strings.Contains(got, "too many wrong codes") {
		t.Errorf("the right code within the wait: %s", got)
	}
	later = noon.Add(tryAgain)
	if got := try(code(later), later); got != "true" {
		t.Errorf("the right code after the wait: %s", got)
	}
}

// TestUsedOnce offers one code to two servers, many times at once: one takes it. A
// server that starts later refuses it too.
func TestUsedOnce(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	one := New(engine.Mount{}, unsealed(t, storetest.PostgresAt(t, dsn)))
	two := New(engine.Mount{}, unsealed(t, storetest.PostgresAt(t, dsn)))
	if _, err := call(t, one, policy.Update, "keys/k", `{"key":"GEZDGNBVGY3TQOJQ"}`, noon); err != nil {
		t.Fatal(err)
	}
	shown, err := call(t, two, policy.Read, "code/k", "", noon)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"code":"` + shown["code"].(string) + `"}`
	var taken, refused atomic.Int64
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			got, err := call(t, []engine.Engine{one, two}[n%2], policy.Update, "code/k", body, noon)
			switch {
			case err == nil && got["valid"] == true:
				taken.Add(1)
			case fault.Is(err, fault.Invalid):
				refused.Add(1)
			default:
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 || refused.Load() != 15 {
		t.Errorf("taken %d times, refused %d times", taken.Load(), refused.Load())
	}
	three := New(engine.Mount{}, unsealed(t, storetest.PostgresAt(t, dsn)))
	if _, err := call(t, three, policy.Update, "code/k", body, noon); !fault.Is(err, fault.Invalid) {
		t.Errorf("after a restart: %v", err)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("otpauth://totp/Gold%20Keep:me?secret=GEZDGNBVGY3TQOJQ&issuer=x&period=30&digits=6&algorithm=SHA1")
	f.Add("otpauth://totp/?secret=")
	f.Fuzz(func(t *testing.T, text string) {
		o := options{url: text, made: key{Period: 30, Digits: 6, Algorithm: "SHA1", Skew: 1}}
		k, err := o.key()
		if err != nil {
			return
		}
		if code := k.codes().At(k.codes().Counter(noon)); len(code) != k.Digits {
			t.Errorf("%q gives %q", text, code)
		}
		again := options{url: k.url(), made: o.made}
		if twin, err := again.key(); err != nil || !bytes.Equal(twin.Secret, k.Secret) {
			t.Errorf("%q is %q: %v", text, k.url(), err)
		}
	})
}
