// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/goldkeep/goldkeep/internal/engine"
)

var pages = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body><h1>{{.Title}}</h1><p>{{.Text}}</p>
{{with .Flow}}<form method="get">
<input type="hidden" name="state" value="{{$.State}}"><input type="hidden" name="code" value="{{$.Code}}">
<p>Somebody at <b>{{.From}}</b> asked to be logged in as you, with the role <b>{{.Role}}</b>. If that was not you, close this page.</p>
<button name="confirmation" value="{{$.Secret}}">It was me: log in</button></form>{{end}}
</body></html>
`))

type pageData struct {
	Title, Text, State, Code, Secret string
	Flow                             *flow
}

// page is what a person sees who comes to this server with their browser.
func page(status int, title, text string) *engine.Response {
	return pageData{Title: title, Text: text}.response(status)
}

// confirmPage asks the person whether it was they who began this login: somebody
// else may have sent them the link, to be logged in as them.
func confirmPage(fl *flow, state, code, secret string) *engine.Response {
	return pageData{Title: "Log in?", State: state, Code: code, Secret: secret, Flow: fl}.response(http.StatusOK)
}

func (d pageData) response(status int) *engine.Response {
	var b bytes.Buffer
	_ = pages.Execute(&b, d) // into memory, of texts: cannot fail
	return &engine.Response{Status: status, Raw: b.Bytes(), Header: map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"Referrer-Policy":         "no-referrer", "X-Content-Type-Options": "nosniff",
	}}
}
