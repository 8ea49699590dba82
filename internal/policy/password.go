// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// The limits of a password policy.
const (
	minPassword     = 4 // characters
	maxPassword     = 100
	maxCharset      = 1000 // characters of one charset
	maxCharsets     = 50
	maxPasswordText = 64 << 10 // bytes of the policy's text
)

// Password says how passwords are made:
//
//	length = 20
//	rule "charset" {
//	  charset   = "abcdefghijklmnopqrstuvwxyz"
//	  min-chars = 1
//	}
type Password struct {
	Length   int // in characters
	Charsets []Charset
}

// Charset is characters to choose from, and how many of them there must be.
type Charset struct {
	Chars []rune // each once
	Min   int
}

// ParsePassword reads a password policy, in HCL or JSON; fault.Invalid says what is
// wrong with it.
func ParsePassword(text string) (*Password, error) {
	if len(text) > maxPasswordText {
		return nil, fault.New(fault.TooLarge, "the password policy has over %d bytes", maxPasswordText)
	}
	p, err := readPassword(text)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid password policy: %w", err)
	}
	if p.Length < minPassword || p.Length > maxPassword {
		return nil, fault.New(fault.Invalid, "passwords must be between %d and %d characters", minPassword, maxPassword)
	}
	return p, nil
}

func readPassword(text string) (*Password, error) {
	top, err := readSyntax([]byte(text))
	if err != nil {
		return nil, err
	}
	p := &Password{}
	for _, f := range top.fields {
		switch f.name {
		case "length":
			if p.Length, err = f.val.whole(); err != nil {
				return nil, lineError(f.line, "length: %w", err)
			}
		case "rule":
			if err := p.readRules(f.val); err != nil {
				return nil, err
			}
		default:
			return nil, lineError(f.line, "unknown field %q", f.name)
		}
	}
	return p, nil
}

func (n node) whole() (int, error) {
	if n.kind != number && n.kind != text {
		return 0, fmt.Errorf("want a whole number")
	}
	return strconv.Atoi(n.text)
}

// readRules reads `rule "charset" {...}`, of which JSON may have a list.
func (p *Password) readRules(rules node) error {
	if rules.kind == list {
		for _, item := range rules.items {
			if err := p.readRules(item); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range rules.fields {
		if f.name != "charset" {
			return fmt.Errorf("unable to parse rules: unable to parse rule %s: unrecognized rule type %s", f.name, f.name)
		}
		bodies := []node{f.val}
		if f.val.kind == list {
			bodies = f.val.items
		}
		for _, body := range bodies {
			if err := p.readCharset(body); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Password) readCharset(body node) (err error) {
	var c Charset
	for _, f := range body.fields {
		switch f.name {
		case "charset":
			c.Chars = []rune(f.val.text)
		case "min-chars":
			if c.Min, err = f.val.whole(); err != nil {
				return lineError(f.line, "min-chars: %w", err)
			}
		default:
			return lineError(f.line, "unknown field %q of a charset", f.name)
		}
	}
	slices.Sort(c.Chars)
	c.Chars = slices.Compact(c.Chars)
	p.Charsets = append(p.Charsets, c)
	return c.check(body.line)
}

func (c Charset) check(line int) error {
	switch {
	case len(c.Chars) == 0 || len(c.Chars) > maxCharset:
		return lineError(line, "a charset needs 1 to %d characters", maxCharset)
	case c.Min < 0:
		return lineError(line, "min-chars must not be negative")
	}
	for _, r := range c.Chars {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return lineError(line, "a charset holds a character that cannot be printed")
		}
	}
	return nil
}

func (p *Password) check() error {
	var faults []string
	if p.Length <= 0 {
		faults = append(faults, "length must be > 0")
	}
	if len(p.Charsets) == 0 {
		faults = append(faults, "no charset specified")
	}
	if faults != nil {
		return listed(faults)
	}
	if len(p.Charsets) > maxCharsets {
		return fmt.Errorf("there must be 1 to %d charsets", maxCharsets)
	}
	needed := 0
	for _, c := range p.Charsets {
		needed += min(c.Min, maxPassword+1)
	}
	if needed > p.Length {
		return listed([]string{fmt.Sprintf("specified rules require at least %d characters but %d is specified", needed, p.Length)})
	}
	return nil
}

// listed says faults in the form that clients of Vault know.
func listed(faults []string) error {
	count := "1 error"
	if len(faults) > 1 {
		count = fmt.Sprintf("%d errors", len(faults))
	}
	return errors.New(count + " occurred:\n\t* " + strings.Join(faults, "\n\t* ") + "\n\n")
}

// Generate makes a password: of each charset as many as it asks for, the rest from
// all of them, in an order that says nothing. A nil random is the system's.
func (p *Password) Generate(random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	var all, chosen []rune
	pick := func(from []rune) error {
		i, err := below(random, len(from))
		if err == nil {
			chosen = append(chosen, from[i])
		}
		return err
	}
	for _, c := range p.Charsets {
		all = append(all, c.Chars...)
		for range c.Min {
			if err := pick(c.Chars); err != nil {
				return "", err
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for len(chosen) < p.Length {
		if err := pick(all); err != nil {
			return "", err
		}
	}
	for i := len(chosen) - 1; i > 0; i-- {
		j, err := below(random, i+1)
		if err != nil {
			return "", err
		}
		chosen[i], chosen[j] = chosen[j], chosen[i]
	}
	return string(chosen), nil
}

// below is a random number from 0 to n-1.
func below(random io.Reader, n int) (int, error) {
	i, err := rand.Int(random, big.NewInt(int64(n)))
	if err != nil {
		return 0, fault.New(fault.Internal, "read random bytes: %w", err)
	}
	return int(i.Int64()), nil
}
