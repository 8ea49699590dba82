// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"
	"fmt"
	"strings"
)

// slackMessage is a message as Slack's incoming webhooks take it; Mattermost and
// Rocket.Chat read the text.
type slackMessage struct {
	Text        string       `json:"text"`
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

type slackBlock struct {
	Type string    `json:"type"`
	Text slackText `json:"text"`
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Limits of a message: Slack takes 3,000 characters in a block, escaped.
const (
	maxBlock  = 2900 // bytes
	maxBlocks = 6
)

// slack makes a digest a chat message. Whatever others wrote stands in code
// blocks, in which nothing is a link, a mention or a heading.
func slack(d Digest) ([]byte, error) {
	msg := slackMessage{Blocks: []slackBlock{{"header", slackText{"plain_text", "Goldkeep: " + d.counted()}}}}
	whole := chat("Goldkeep: " + d.headline())
	for _, part := range blocks(d.lines()) {
		code := "```\n" + part + "\n```"
		msg.Blocks = append(msg.Blocks, slackBlock{"section", slackText{"mrkdwn", code}})
		whole += "\n" + code
	}
	msg.Text = whole
	body, err := json.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return body, nil
}

// blocks joins lines, made harmless, into a bounded number of bounded texts.
func blocks(lines []string) []string {
	var all []string
	var b strings.Builder
	for _, line := range lines {
		line = chat(plainIndented(line))
		if b.Len() > 0 && b.Len()+len(line) >= maxBlock {
			all = append(all, b.String())
			b.Reset()
		}
		if len(all) == maxBlocks {
			return append(all[:maxBlocks-1], "... the rest: goldkeep notification show ID")
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	if b.Len() > 0 {
		all = append(all, b.String())
	}
	return all
}

// plainIndented bounds a line and keeps how far it is indented.
func plainIndented(line string) string {
	text := strings.TrimLeft(line, " ")
	return line[:min(8, len(line)-len(text))] + plain(text, 500)
}

// chatMarks take the meaning from the characters that have one in chats: & < > begin
// links and mentions, @ begins mentions, a back-tick ends a code block.
var chatMarks = strings.NewReplacer("->", "\u2192", "&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "'", "@", "@\u200b")

func chat(text string) string { return chatMarks.Replace(text) }
