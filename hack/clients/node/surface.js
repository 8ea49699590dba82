// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// What node-vault, the JavaScript library, can do, done with the server that
// VAULT_ADDR names, as VAULT_TOKEN. It ends with an error at the first surprise.
const assert = require("node:assert/strict");
const vault = require("node-vault");

const root = () => vault({ endpoint: process.env.VAULT_ADDR, token: process.env.VAULT_TOKEN });
const c = root();

async function state() {
  assert.equal((await c.initialized()).initialized, true);
  assert.equal((await c.status()).sealed, false);
  assert.equal((await c.health()).initialized, true);
  assert.ok("ha_enabled" in (await c.leader()));
}

async function secrets() {
  await c.mount({ mount_point: "one", type: "kv", description: "d" });
  assert.equal((await c.mounts())["one/"].type, "kv");
  await c.write("one/a", { x: "1" });
  await c.write("one/d/b", { x: "1" });
  assert.equal((await c.read("one/a")).data.x, "1");
  assert.deepEqual((await c.list("one/")).data.keys, ["a", "d/"]);
  await c.delete("one/a");
  await assert.rejects(c.read("one/a"), (e) => e.response.statusCode === 404);
  await c.remount({ from: "one", to: "two" });
  await c.unmount({ mount_point: "two" });
  await c.write("secret/data/a", { data: { x: "1" } });
  assert.equal((await c.read("secret/data/a")).data.data.x, "1");
  await c.update("secret/data/a", { data: { y: "2" } });
  assert.deepEqual((await c.read("secret/data/a")).data.data, { x: "1", y: "2" });
}

async function policies() {
  const rules = 'path "secret/*" { capabilities = ["read"] }';
  await c.addPolicy({ name: "p", rules });
  assert.ok((await c.policies()).policies.includes("p"));
  assert.equal((await c.getPolicy({ name: "p" })).rules, rules);
  await c.removePolicy({ name: "p" });
}

async function tokens() {
  const made = (await root().tokenCreate({ policies: ["default"], ttl: "1h", meta: { a: "b" } })).auth;
  assert.equal((await c.tokenLookup({ token: made.client_token })).data.meta.a, "b");
  assert.equal((await c.tokenLookupAccessor({ accessor: made.accessor })).data.accessor, made.accessor);
  assert.ok((await c.tokenAccessors()).data.keys.includes(made.accessor));
  await root().tokenRenew({ token: made.client_token, increment: "30m" });
  const self = vault({ endpoint: process.env.VAULT_ADDR, token: made.client_token });
  assert.equal((await self.tokenLookupSelf()).data.type, "service");
  await self.tokenRenewSelf();
  await self.tokenRevokeSelf();
  await assert.rejects(self.tokenLookupSelf(), (e) => e.response.statusCode === 403);
  await root().tokenCreateOrphan({ policies: ["default"] });
}

async function logins() {
  await c.enableAuth({ mount_point: "approle", type: "approle" });
  assert.equal((await c.auths())["approle/"].type, "approle");
  await c.addApproleRole({ role_name: "r", policies: "dev", token_ttl: 3600 });
  assert.deepEqual((await c.approleRoles()).data.keys, ["r"]);
  const id = (await c.getApproleRoleId({ role_name: "r" })).data.role_id;
  const secret = (await c.getApproleRoleSecret({ role_name: "r" })).data.secret_id;
  const fresh = vault({ endpoint: process.env.VAULT_ADDR });
  const got = await fresh.approleLogin({ role_id: id, secret_id: secret });
  assert.deepEqual(got.auth.policies, ["default", "dev"]);
  await fresh.tokenLookupSelf();
  await c.enableAuth({ mount_point: "userpass", type: "userpass" });
  await c.write("auth/userpass/users/ann", { password: "pw", policies: "dev" });
  await fresh.userpassLogin({ username: "ann", password: "pw" });
  await assert.rejects(fresh.userpassLogin({ username: "ann", password: "no" }), /invalid username or password/);
  await c.disableAuth({ mount_point: "userpass" });
}

async function wrapping() {
  const wrapped = await c.write("sys/wrapping/wrap", { a: "b" }, { headers: { "X-Vault-Wrap-TTL": "60s" } });
  assert.equal((await root().unwrap({ token: wrapped.wrap_info.token })).data.a, "b");
}

async function transit() {
  await c.mount({ mount_point: "transit", type: "transit" });
  await c.write("transit/keys/k", {});
  const text = (await c.encryptData({ name: "k", plaintext: Buffer.from("hello").toString("base64") })).data.ciphertext;
  const open = (await c.decryptData({ name: "k", ciphertext: text })).data.plaintext;
  assert.equal(Buffer.from(open, "base64").toString(), "hello");
  await c.rotate();
}

(async () => {
  for (const part of [state, secrets, policies, tokens, logins, wrapping, transit]) {
    try {
      await part();
    } catch (e) {
      e.message = `${part.name}: ${e.message}`;
      throw e;
    }
  }
})();
