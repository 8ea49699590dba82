// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import "testing"

// TestConformTransitTexts: texts and fields that clients of transit compare.
func TestConformTransitTexts(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/transit", w.root, `{"type":"transit"}`)
	w.ok("POST", "transit/keys/k", w.root, `{"exportable":true}`)
	w.ok("POST", "transit/keys/plain", w.root, `{}`)
	w.ok("POST", "transit/keys/ed", w.root, `{"type":"ed25519"}`)
	w.ok("POST", "transit/keys/rsa", w.root, `{"type":"rsa-2048"}`)
	w.ok("POST", "transit/keys/ec", w.root, `{"type":"ecdsa-p256"}`)
	conform(t, w, nil, []row{
		{does: "POST transit/encrypt/k", body: `{"plaintext":"bad!"}`, status: 400, has: "illegal base64 data at input byte 3"},
		{does: "POST transit/encrypt/k", body: `{"plaintext":"YQ==","nonce":"bad!"}`, status: 400, has: "illegal base64 data"},
		{does: "POST transit/encrypt/k", body: `{"plaintext":"YQ==","key_version":2}`, status: 400, has: "requested version for encryption is higher than the latest key version"},
		{does: "POST transit/encrypt/ed", body: `{"plaintext":"YQ=="}`, status: 400, has: "message encryption not supported for key type ed25519"},
		{does: "POST transit/decrypt/k", body: `{"ciphertext":"vault:v1:AAAA"}`, status: 400, has: "invalid ciphertext length"},
		{does: "POST transit/decrypt/k", body: `{"ciphertext":"vault:v0:AAAA"}`, status: 400, has: "(too old)"},
		{does: "POST transit/encrypt/k", body: `{"batch_input":[{"plaintext":"YQ=="},{"plaintext":"bad!","reference":"r"}]}`, status: 400, has: `"reference":""`},
		{does: "POST transit/decrypt/k", body: `{"batch_input":[{"ciphertext":"vault:v1:AAAA"}]}`, status: 400, has: `"plaintext":""`},
		{does: "POST transit/sign/ed", body: `{"batch_input":[{"input":"bad!"}]}`, status: 400, has: `"key_version":0`},
		{does: "POST transit/sign/k", body: `{"batch_input":[{"input":"YQ=="}]}`, status: 400, has: `{"errors":["key type aes256-gcm96 does not support signing"]}`},
		{does: "POST transit/sign/none", body: `{"input":"YQ=="}`, status: 400, has: "signing key not found"},
		{does: "POST transit/verify/none", body: `{"input":"YQ==","signature":"vault:v1:AA=="}`, status: 400, has: "signature verification key not found"},
		{does: "POST transit/verify/ed", body: `{"input":"YQ==","signature":"wrong"}`, status: 400, has: "invalid signature: no prefix"},
		{does: "POST transit/verify/ed", body: `{"input":"YQ==","hmac":"wrong"}`, status: 400, has: "invalid HMAC to verify: no prefix"},
		{does: "POST transit/verify/ec", body: `{"input":"YQ==","signature":"vault:v1:AAAA"}`, status: 400, has: "supplied signature is invalid"},
		{does: "POST transit/sign/ec", body: `{"input":"YQ==","prehashed":true}`, status: 200, shape: "data.signature:str"},
		{does: "POST transit/sign/rsa", body: `{"input":"YQ==","salt_length":"500"}`, status: 400, has: "requested salt length 500 is invalid"},
		{does: "POST transit/hmac/k", body: `{"input":"YQ==","key_version":9}`, status: 400, has: "key version does not exist; latest key version is 1"},
		{does: "GET transit/export/wrong/none", status: 400, has: "invalid export type: wrong"},
		{does: "GET transit/export/encryption-key/k/9", status: 400, has: "version does not exist or cannot be found"},
		{does: "GET transit/export/encryption-key/k/0", status: 400, has: "version for export is below minimum decryption version"},
		{does: "GET transit/byok-export/rsa/k", status: 200, shape: "data{keys,name,type} data.keys.1:str"},
		{does: "GET transit/byok-export/rsa/k/latest", status: 200, shape: "data.keys.1:str"},
		{does: "GET transit/byok-export/rsa/plain", status: 400, has: "key is not exportable"},
		{does: "GET transit/byok-export/k/rsa", status: 400, has: "key is not exportable"},
		{does: "GET transit/byok-export/ed/k", status: 400, has: "unsupported key type in use; must be a rsa key"},
		{does: "GET transit/byok-export/none/k", status: 400, has: "no such destination key to export to"},
		{does: "POST transit/keys/k/config", body: `{"min_decryption_version":0}`, status: 200, shape: "warn data.min_decryption_version=1"},
		{does: "POST transit/keys/k/trim", status: 400, has: "missing min_available_version"},
		{does: "POST transit/keys/k/rotate", body: `{"x":1}`, status: 200, shape: "warn", has: "unrecognized parameters: [x]"},
		{does: "DELETE transit/keys/k", status: 400, has: "error deleting policy k: deletion is not allowed for this key"},
		{does: "POST transit/cache-config", body: `{"size":20}`, status: 200, shape: "data{size} data.size:int"},
		{does: "POST transit/random/0", status: 400, has: `\"bytes\" cannot be less than 1`},
		{does: "POST transit/random/seal/4", status: 200, shape: "warn"},
		{does: "POST transit/hash", status: 400, has: "input missing"},
	})
}

// TestConformTexts: the same of the other engines.
func TestConformTexts(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/totp", w.root, `{"type":"totp"}`)
	w.ok("POST", "sys/auth/approle", w.root, `{"type":"approle"}`)
	w.ok("POST", "auth/approle/role/r", w.root, `{"token_policies":"default"}`)
	conform(t, w, nil, []row{
		{does: "GET secret/a", status: 404, shape: "warn", has: "use 'vault kv get' for this operation"},
		{does: "POST secret/a", body: `{"x":1}`, status: 404, shape: "warn", has: "use 'vault kv put' for this operation"},
		{does: "GET secret/data", status: 404, shape: "warn", has: "Non-listing operations on the root of a K/V v2 mount are not supported."},
		{does: "POST secret/data/a", body: `{"data":{"a":1},"options":{"cas":"x"}}`, status: 400, has: "error parsing check-and-set parameter"},
		{does: "POST secret/delete/a", body: `{}`, status: 400, has: "No version number provided"},
		{does: "POST secret/destroy/a", body: `{}`, status: 400, has: "no version number provided"},
		{does: "POST secret/metadata/a", body: `{"custom_metadata":{"a":{}}}`, status: 400, has: "custom_metadata validation failed"},
		{does: "POST totp/keys/a", body: `{"generate":true}`, status: 400, has: "the account_name value is required for generated keys"},
		{does: "POST totp/keys/a", body: `{"generate":true,"key":"JBSWY3DP","issuer":"i","account_name":"a"}`, status: 400, has: "a key should not be passed if generate is true"},
		{does: "POST totp/keys/a", body: `{"key":"n!"}`, status: 400, has: "invalid key value: illegal base32 data"},
		{does: "POST totp/keys/a", body: `{"key":"JBSWY3DP","period":0}`, status: 400, has: "the period value must be greater than zero"},
		{does: "POST auth/approle/role/r/secret-id", body: `{"metadata":"{bad"}`, status: 400, has: "failed to parse metadata"},
		{does: "POST auth/approle/role/r/period", status: 400, has: "missing period"},
		{does: "POST auth/approle/role/b", body: `{"token_type":"batch","token_num_uses":1}`, status: 400, has: "when set to generate tokens with limited use count"},
		{does: "POST auth/approle/role/b", body: `{"token_type":"batch","token_period":"1h"}`, status: 400, has: "when set to generate periodic tokens"},
		{does: "POST identity/lookup/entity", body: `{"name":"a","id":"b"}`, status: 400, has: "query parameter conflict"},
	})
}
