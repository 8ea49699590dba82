// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Keys is the answer to a list: names in order, those of folders with a slash at
// the end. Info tells more of some or all of them.
type Keys struct {
	Keys []string       `json:"keys"`
	Info map[string]any `json:"key_info,omitempty"`
}

// Listing answers names; nothing there is nil.
func Listing(names []string, err error) (*Response, error) {
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return &Response{Data: Keys{Keys: names}}, nil
}

// Page cuts an answer to a list down to what the fields "after" and "limit" ask for:
// names greater than after, at most limit of them (0 or less: all). An answer that is
// no Keys stays whole.
func Page(req *Request, resp *Response) (*Response, error) {
	f := Read(req)
	after, limit := f.Text("after"), f.Int("limit", 0)
	if f.Err() != nil {
		return nil, f.Err()
	}
	if resp == nil || after == "" && limit <= 0 {
		return resp, nil
	}
	list, ok := resp.Data.(Keys)
	if !ok {
		return resp, nil
	}
	keys := slices.DeleteFunc(slices.Clone(list.Keys), func(k string) bool { return k <= after })
	if limit > 0 && len(keys) > limit {
		keys = keys[:limit]
	}
	if len(keys) == 0 {
		return nil, nil
	}
	page := *resp
	page.Data = Keys{Keys: keys, Info: among(list.Info, keys)}
	return &page, nil
}

// among is what is known of some keys only.
func among(info map[string]any, keys []string) map[string]any {
	if info == nil {
		return nil
	}
	some := make(map[string]any, len(keys))
	for _, k := range keys {
		if about, ok := info[k]; ok {
			some[k] = about
		}
	}
	return some
}

// maxScan bounds how many names a scan gives.
const maxScan = 100_000

// Below lists all names at any depth below a folder, relative to it, sorted. Over
// 100,000 of them are fault.TooLarge.
func Below(ctx context.Context, r barrier.Reader, dir string) ([]string, error) {
	var names []string
	for folders := []string{""}; len(folders) > 0; {
		folder := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		here, err := r.List(ctx, strings.Trim(dir+"/"+folder, "/"))
		if err != nil {
			return nil, err
		}
		for _, name := range here {
			if strings.HasSuffix(name, "/") {
				folders = append(folders, folder+name)
			} else {
				names = append(names, folder+name)
			}
		}
		if len(names) > maxScan {
			return nil, fault.New(fault.TooLarge, "there are over %d names below this path", maxScan).WithHint("scan a folder further down")
		}
	}
	slices.Sort(names)
	return names, nil
}
