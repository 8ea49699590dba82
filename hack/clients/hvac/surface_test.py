# Copyright The Goldkeep Authors
# SPDX-License-Identifier: Apache-2.0
"""What hvac, the Python library, can do, done with Goldkeep.

VAULT_ADDR names a fresh dev server whose root token is "root". The same file passes
against the reference server, but for test_mounts: there a mount moves later.
"""

import base64
import json
import os
import subprocess
import tempfile
import unittest

import hvac
from hvac import exceptions

ADDR = os.environ["VAULT_ADDR"]


def b64(text):
    return base64.b64encode(text.encode()).decode()


def certificate():
    """A certificate of its own, as PEM."""
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                           "-keyout", "/dev/null", "-days", "2", "-subj", "/CN=me"], check=True, capture_output=True, text=True)
    return made.stdout


class Case(unittest.TestCase):
    """A client as root, and what it mounted is gone after each test."""

    def setUp(self):
        self.c = hvac.Client(url=ADDR, token="root")

    def mount(self, kind, path=None, **kw):
        path = path or kind
        self.c.sys.enable_secrets_engine(kind, path=path, **kw)
        self.addCleanup(self.c.sys.disable_secrets_engine, path)

    def auth(self, kind, path=None):
        path = path or kind
        self.c.sys.enable_auth_method(kind, path=path)
        self.addCleanup(self.c.sys.disable_auth_method, path)

    def fails(self, error, call, *args, **kw):
        with self.assertRaises(error) as caught:
            call(*args, **kw)
        return str(caught.exception)

    def gone(self, response):
        self.assertEqual(response.status_code, 204)

    def done(self, response):
        """Vault answers 204, OpenBao 200 with what was written."""
        self.assertEqual(getattr(response, "status_code", 200), 204 if hasattr(response, "status_code") else 200)


class Sys(Case):
    def test_state(self):
        s = self.c.sys
        self.assertTrue(s.is_initialized())
        self.assertFalse(s.is_sealed())
        status = s.read_seal_status()
        for key in ("type", "initialized", "sealed", "t", "n", "progress", "nonce", "version", "migration", "recovery_seal", "storage_type"):
            self.assertIn(key, status)
        self.assertEqual(s.read_health_status().status_code, 200)
        self.assertEqual(s.read_health_status(method="GET", active_code=299).status_code, 299)
        health = s.read_health_status(method="GET")
        self.assertTrue(health["initialized"])
        self.assertIn("ha_enabled", s.read_leader_status())
        self.assertIn("ha_enabled", self.c.ha_status)

    def test_keys(self):
        s = self.c.sys
        before = s.get_encryption_key_status()["data"]["term"]
        self.gone(s.rotate_encryption_key())
        self.assertEqual(s.get_encryption_key_status()["data"]["term"], before + 1)

    def test_mounts(self):
        s = self.c.sys
        self.gone(s.enable_secrets_engine("kv", path="m", description="d", options={"version": "1"}, config={"default_lease_ttl": "1h"}))
        listed = s.list_mounted_secrets_engines()["data"]
        self.assertEqual(listed["m/"]["type"], "kv")
        self.assertEqual(listed["m/"]["options"], {"version": "1"})
        self.assertEqual(listed["m/"]["config"]["default_lease_ttl"], 3600)
        self.assertEqual(s.retrieve_mount_option("m", "version"), "1")
        self.gone(s.tune_mount_configuration("m", default_lease_ttl="30m", max_lease_ttl="2h", description="e"))
        tuned = s.read_mount_configuration("m")["data"]
        self.assertEqual((tuned["default_lease_ttl"], tuned["max_lease_ttl"]), (1800, 7200))
        s.move_backend("m", "n")
        listed = s.list_mounted_secrets_engines()["data"]
        self.assertIn("n/", listed)
        self.assertNotIn("m/", listed)
        self.gone(s.disable_secrets_engine("n"))
        self.fails(exceptions.InvalidRequest, s.enable_secrets_engine, "nothing")

    def test_default_ttl(self):
        self.mount("kv", "m")
        self.assertEqual(self.c.sys.read_mount_configuration("m")["data"]["default_lease_ttl"], 2764800)
        self.assertEqual(self.c.sys.read_mount_configuration("m")["data"]["max_lease_ttl"], 2764800)

    def test_auth_methods(self):
        s = self.c.sys
        self.gone(s.enable_auth_method("userpass", path="up", description="d", config={"default_lease_ttl": "1h"}))
        self.assertEqual(s.list_auth_methods()["data"]["up/"]["config"]["default_lease_ttl"], 3600)
        self.gone(s.tune_auth_method("up", default_lease_ttl="15m", description="e", listing_visibility="unauth"))
        tuned = s.read_auth_method_tuning("up")["data"]
        self.assertEqual((tuned["default_lease_ttl"], tuned["listing_visibility"]), (900, "unauth"))
        self.gone(s.disable_auth_method("up"))
        self.assertIn("token/", s.list_auth_methods()["data"])

    def test_policies(self):
        s = self.c.sys
        rules = 'path "sys/*" {\n  policy = "write"\n}\n'
        self.gone(s.create_or_update_policy("p", rules))
        self.assertIn("p", s.list_policies()["data"]["policies"])
        self.assertEqual(s.read_policy("p")["data"]["rules"], rules)
        self.assertEqual(self.c.get_policy("p"), rules)
        self.gone(s.create_or_update_policy("j", {"path": {"a": {"capabilities": ["read"]}}}))
        self.assertEqual(json.loads(s.read_policy("j")["data"]["rules"]), {"path": {"a": {"capabilities": ["read"]}}})
        self.gone(s.delete_policy("p"))
        self.gone(s.delete_policy("j"))
        self.fails(exceptions.InvalidPath, s.read_policy, "p")

    def test_capabilities(self):
        s = self.c.sys
        s.create_or_update_policy("p", 'path "secret/data/*" { capabilities = ["read", "list"] }')
        made = self.c.auth.token.create(policies=["p"])["auth"]
        for kw in ({"token": made["client_token"]}, {"accessor": made["accessor"]}):
            got = s.get_capabilities(["secret/data/x"], **kw)
            self.assertEqual(got["data"]["capabilities"], ["list", "read"])
        self.assertEqual(s.get_capabilities(["secret/data/x"])["capabilities"], ["root"])

    def test_leases(self):
        s = self.c.sys
        self.fails(exceptions.InvalidRequest, s.read_lease, "none")
        self.fails(exceptions.InvalidRequest, s.renew_lease, "none")
        s.revoke_lease("none")
        self.fails(exceptions.InvalidPath, s.list_leases, "none")

    def test_audit(self):
        self.assertIn("data", self.c.sys.list_enabled_audit_devices())

    def test_wrapping(self):
        made = self.c.auth.token.create(wrap_ttl="60s", policies=["default"])
        self.assertEqual(made["wrap_info"]["ttl"], 60)
        self.assertEqual(made["wrap_info"]["creation_path"], "auth/token/create")
        inner = self.c.sys.unwrap(made["wrap_info"]["token"])
        self.assertIn("default", inner["auth"]["policies"])
        self.fails(exceptions.InvalidRequest, self.c.sys.unwrap, made["wrap_info"]["token"])
        made = self.c.auth.token.create(wrap_ttl="60s", policies=["default"])
        other = hvac.Client(url=ADDR, token=made["wrap_info"]["token"])
        self.assertIn("auth", other.sys.unwrap())
        made = self.c.write("sys/wrapping/wrap", wrap_ttl="60s", a="b")
        self.assertEqual(self.c.sys.unwrap(made["wrap_info"]["token"])["data"], {"a": "b"})


class Tokens(Case):
    def test_lives(self):
        t = self.c.auth.token
        made = t.create(policies=["default"], ttl="1h", meta={"a": "b"}, display_name="me", num_uses=9, explicit_max_ttl="2h")["auth"]
        got = t.lookup(made["client_token"])["data"]
        self.assertEqual((got["meta"], got["display_name"], got["num_uses"], got["type"], got["orphan"]), ({"a": "b"}, "token-me", 9, "service", False))
        self.assertEqual(t.lookup_accessor(made["accessor"])["data"]["id"], "")
        self.assertIn(made["accessor"], t.list_accessors()["data"]["keys"])
        self.assertEqual(t.renew(made["client_token"], increment="30m")["auth"]["lease_duration"], 1800)
        self.assertEqual(t.renew_accessor(made["accessor"], increment="20m")["auth"]["lease_duration"], 1200)
        self.gone(t.revoke_accessor(made["accessor"]))
        self.fails(exceptions.Forbidden, t.lookup, made["client_token"])

    def test_self(self):
        made = self.c.auth.token.create(policies=["default"], period="1h")["auth"]
        me = hvac.Client(url=ADDR, token=made["client_token"])
        self.assertTrue(me.is_authenticated())
        self.assertEqual(me.auth.token.lookup_self()["data"]["period"], 3600)
        self.assertEqual(me.auth.token.renew_self()["auth"]["lease_duration"], 3600)
        self.gone(me.auth.token.revoke_self())
        self.assertFalse(me.is_authenticated())
        self.fails(exceptions.Forbidden, me.auth.token.lookup_self)

    def test_logout(self):
        me = hvac.Client(url=ADDR, token=self.c.auth.token.create()["auth"]["client_token"])
        me.logout(revoke_token=True)
        self.assertFalse(me.is_authenticated())

    def test_tree(self):
        t = self.c.auth.token
        parent = hvac.Client(url=ADDR, token=t.create()["auth"]["client_token"])
        child = parent.auth.token.create()["auth"]["client_token"]
        self.gone(t.revoke_and_orphan_children(parent.token))
        self.assertTrue(t.lookup(child)["data"]["orphan"])
        self.gone(t.revoke(child))

    def test_roles(self):
        t = self.c.auth.token
        self.gone(t.create_or_update_role("r", allowed_policies=["dev"], orphan=True, path_suffix="suffix"))
        self.assertEqual(t.read_role("r")["data"]["allowed_policies"], ["dev"])
        self.assertEqual(t.list_roles()["data"]["keys"], ["r"])
        made = t.create(role_name="r", policies=["dev"])["auth"]
        self.assertTrue(made["orphan"])
        self.gone(t.delete_role("r"))
        self.fails(exceptions.InvalidPath, t.list_roles)

    def test_tidy(self):
        self.assertEqual(self.c.auth.token.tidy().status_code, 202)

    def test_bad_token(self):
        bad = hvac.Client(url=ADDR, token="not-real-token")
        self.assertFalse(bad.is_authenticated())
        self.assertIn("permission denied", self.fails(exceptions.Forbidden, bad.read, "secret/x"))


class Logins(Case):
    def test_approle(self):
        self.auth("approle")
        a = self.c.auth.approle
        self.gone(a.create_or_update_approle("r", token_policies=["dev"], token_ttl="1h", secret_id_num_uses=5, token_type="service"))
        self.assertEqual(a.read_role("r")["data"]["token_policies"], ["dev"])
        self.assertEqual(a.list_roles()["data"]["keys"], ["r"])
        rid = a.read_role_id("r")["data"]["role_id"]
        made = a.generate_secret_id("r", metadata={"k": "v"}, cidr_list=["127.0.0.1/32"])["data"]
        self.assertEqual(a.read_secret_id("r", made["secret_id"])["data"]["metadata"], {"k": "v"})
        self.assertEqual(a.list_secret_id_accessors("r")["data"]["keys"], [made["secret_id_accessor"]])
        self.assertEqual(a.read_secret_id_accessor("r", made["secret_id_accessor"])["data"]["secret_id_num_uses"], 5)
        me = hvac.Client(url=ADDR)
        got = me.auth.approle.login(rid, made["secret_id"])
        self.assertEqual(got["auth"]["metadata"], {"role_name": "r", "k": "v"})
        self.assertTrue(me.is_authenticated())
        self.fails(exceptions.InvalidRequest, me.auth.approle.login, rid, "wrong")
        self.gone(a.destroy_secret_id("r", made["secret_id"]))
        self.fails(exceptions.InvalidRequest, me.auth.approle.login, rid, made["secret_id"])
        custom = a.create_custom_secret_id("r", "my-own")["data"]
        self.assertEqual(custom["secret_id"], "my-own")
        self.gone(a.destroy_secret_id_accessor("r", custom["secret_id_accessor"]))
        self.gone(a.update_role_id("r", "my-role"))
        self.assertEqual(a.read_role_id("r")["data"]["role_id"], "my-role")
        self.gone(a.delete_role("r"))
        self.fails(exceptions.InvalidPath, a.read_role, "r")

    def test_userpass(self):
        self.auth("userpass")
        u = self.c.auth.userpass
        self.gone(u.create_or_update_user("ann", "pw", policies="dev"))
        self.assertEqual(u.list_user()["data"]["keys"], ["ann"])
        self.assertEqual(u.read_user("ann")["data"]["policies"], ["dev"])
        me = hvac.Client(url=ADDR)
        self.assertEqual(me.auth.userpass.login("ann", "pw")["auth"]["policies"], ["default", "dev"])
        self.assertTrue(me.is_authenticated())
        self.gone(u.update_password_on_user("ann", "other"))
        self.fails(exceptions.InvalidRequest, me.auth.userpass.login, "ann", "pw")
        self.gone(u.delete_user("ann"))
        self.fails(exceptions.InvalidPath, u.list_user)

    def test_jwt(self):
        self.auth("jwt")
        with tempfile.TemporaryDirectory() as folder:
            key = os.path.join(folder, "key.pem")
            subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
            public = subprocess.run(["openssl", "ec", "-in", key, "-pubout"], check=True, capture_output=True, text=True).stdout
        j = self.c.auth.jwt
        self.gone(j.configure(jwt_validation_pubkeys=[public], bound_issuer="me", jwt_supported_algs=["ES256"]))
        self.assertEqual(j.read_config()["data"]["bound_issuer"], "me")
        self.done(j.create_role("r", "sub", [], role_type="jwt", bound_audiences=["a"], token_policies=["dev"]))
        self.assertEqual(j.read_role("r")["data"]["bound_audiences"], ["a"])
        self.assertEqual(j.list_roles()["data"]["keys"], ["r"])
        self.fails(exceptions.InvalidRequest, j.jwt_login, "r", "not.a.jwt")
        self.gone(j.delete_role("r"))

    def test_kubernetes(self):
        self.auth("kubernetes")
        k = self.c.auth.kubernetes
        self.gone(k.configure("https://127.0.0.1:1", kubernetes_ca_cert=certificate(), token_reviewer_jwt="eyJhbGciOiJFUzI1NiJ9.e30.AAAA"))
        self.assertEqual(k.read_config()["kubernetes_host"], "https://127.0.0.1:1")
        k.create_role("r", "sa", "default", policies=["dev"], ttl="1h")
        self.assertEqual(k.read_role("r")["bound_service_account_names"], ["sa"])
        self.assertEqual(k.list_roles()["keys"], ["r"])
        self.gone(k.delete_role("r"))

    def test_cert(self):
        self.auth("cert")
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(certificate())
            file.flush()
            self.gone(self.c.auth.cert.create_ca_certificate_role("r", certificate=file.name, allowed_common_names="me", token_policies=["dev"]))
        self.assertEqual(self.c.auth.cert.read_ca_certificate_role("r")["data"]["allowed_common_names"], ["me"])
        self.assertEqual(self.c.auth.cert.list_certificate_roles()["data"]["keys"], ["r"])
        self.gone(self.c.auth.cert.configure_tls_certificate(disable_binding=True))
        self.gone(self.c.auth.cert.delete_certificate_role("r"))


class Secrets(Case):
    def test_generic(self):
        self.mount("kv", "g")
        self.assertIsNone(self.c.read("g/a"))
        self.gone(self.c.write("g/a", x=1))
        self.assertEqual(self.c.read("g/a")["data"], {"x": 1})
        self.assertEqual(self.c.list("g")["data"]["keys"], ["a"])
        self.c.delete("g/a")
        self.assertIsNone(self.c.list("g"))
        self.c.write("cubbyhole/a", x="y")
        self.assertEqual(self.c.read("cubbyhole/a")["data"], {"x": "y"})
        self.fails(exceptions.InvalidPath, self.c.write, "nowhere/a", x=1)

    def test_kv1(self):
        self.mount("kv", "one", options={"version": "1"})
        kv = self.c.secrets.kv.v1
        self.fails(exceptions.InvalidPath, kv.read_secret, "a", mount_point="one")
        self.gone(kv.create_or_update_secret("a", {"x": "1"}, mount_point="one"))
        self.gone(kv.create_or_update_secret("d/b", {"x": "1"}, method="PUT", mount_point="one"))
        self.assertEqual(kv.read_secret("a", mount_point="one")["data"], {"x": "1"})
        self.assertEqual(kv.list_secrets("", mount_point="one")["data"]["keys"], ["a", "d/"])
        self.gone(kv.delete_secret("a", mount_point="one"))

    def test_kv2(self):
        self.mount("kv", "two", options={"version": "2"})
        kv = self.c.secrets.kv.v2
        m = {"mount_point": "two"}
        self.gone(kv.configure(max_versions=20, delete_version_after="300s", **m))
        self.assertEqual(kv.read_configuration(**m)["data"]["max_versions"], 20)
        self.assertEqual(kv.read_configuration(**m)["data"]["delete_version_after"], "5m0s")
        self.fails(exceptions.InvalidPath, kv.read_secret, "a", **m)
        self.assertEqual(kv.create_or_update_secret("a", {"x": "1"}, cas=0, **m)["data"]["version"], 1)
        self.fails(exceptions.InvalidRequest, kv.create_or_update_secret, "a", {"x": "2"}, cas=0, **m)
        self.assertEqual(kv.patch("a", {"y": "2"}, **m)["data"]["version"], 2)
        self.fails(exceptions.InvalidPath, kv.patch, "none", {"y": "2"}, **m)
        got = kv.read_secret("a", **m)["data"]
        self.assertEqual((got["data"], got["metadata"]["version"], got["metadata"]["destroyed"]), ({"x": "1", "y": "2"}, 2, False))
        self.assertEqual(kv.read_secret_version("a", version=1, **m)["data"]["data"], {"x": "1"})
        self.gone(kv.delete_latest_version_of_secret("a", **m))
        self.fails(exceptions.InvalidPath, kv.read_secret, "a", **m)
        self.gone(kv.undelete_secret_versions("a", versions=[2], **m))
        self.assertEqual(kv.read_secret("a", **m)["data"]["data"], {"x": "1", "y": "2"})
        self.gone(kv.delete_secret_versions("a", versions=[1], **m))
        self.gone(kv.destroy_secret_versions("a", versions=[1], **m))
        self.gone(kv.update_metadata("a", max_versions=3, cas_required=True, delete_version_after="30s", **m))
        meta = kv.read_secret_metadata("a", **m)["data"]
        self.assertEqual((meta["max_versions"], meta["cas_required"], meta["delete_version_after"], meta["versions"]["1"]["destroyed"]), (3, True, "30s", True))
        self.fails(exceptions.InvalidRequest, kv.create_or_update_secret, "a", {"x": "2"}, **m)
        kv.create_or_update_secret("d/b", {"x": "1"}, **m)
        self.assertEqual(kv.list_secrets("", **m)["data"]["keys"], ["a", "d/"])
        self.gone(kv.delete_metadata_and_all_versions("a", **m))
        self.fails(exceptions.InvalidPath, kv.read_secret_metadata, "a", **m)

    def test_transit(self):
        self.mount("transit")
        t = self.c.secrets.transit
        self.done(t.create_key("k", exportable=True, allow_plaintext_backup=True))
        self.assertEqual(t.read_key("k")["data"]["latest_version"], 1)
        self.assertEqual(t.list_keys()["data"]["keys"], ["k"])
        text = t.encrypt_data("k", plaintext=b64("hello"))["data"]["ciphertext"]
        self.assertTrue(text.startswith("vault:v1:"))
        self.assertEqual(t.decrypt_data("k", ciphertext=text)["data"]["plaintext"], b64("hello"))
        self.done(t.rotate_key("k"))
        self.assertTrue(t.rewrap_data("k", ciphertext=text)["data"]["ciphertext"].startswith("vault:v2:"))
        self.assertEqual(sorted(t.export_key("k", "encryption-key")["data"]["keys"]), ["1", "2"])
        data = t.generate_data_key("k", key_type="plaintext", bits=128)["data"]
        self.assertEqual(len(base64.b64decode(data["plaintext"])), 16)
        self.assertEqual(len(t.generate_random_bytes(n_bytes=32, output_format="hex")["data"]["random_bytes"]), 64)
        self.assertEqual(t.hash_data(b64("hello"), algorithm="sha2-256")["data"]["sum"][:8], "2cf24dba")
        mac = t.generate_hmac("k", hash_input=b64("hello"), algorithm="sha2-256")["data"]["hmac"]
        self.assertTrue(t.verify_signed_data("k", hash_input=b64("hello"), hmac=mac)["data"]["valid"])
        for kind, args in (("ed25519", {}), ("ecdsa-p256", {"marshaling_algorithm": "jws"}), ("rsa-2048", {"signature_algorithm": "pss"})):
            t.create_key(kind, key_type=kind)
            made = t.sign_data(kind, hash_input=b64("hello"), hash_algorithm="sha2-256", **args)["data"]["signature"]
            self.assertTrue(t.verify_signed_data(kind, hash_input=b64("hello"), signature=made, hash_algorithm="sha2-256", **args)["data"]["valid"], kind)
        backup = t.backup_key("k")["data"]["backup"]
        self.gone(t.restore_key(backup, name="r"))
        self.done(t.update_key_configuration("k", min_decryption_version=2, deletion_allowed=True))
        self.fails(exceptions.InvalidRequest, t.decrypt_data, "k", ciphertext=text)
        self.done(t.update_key_configuration("k", min_encryption_version=2))
        self.done(t.trim_key("k", min_version=2))
        self.gone(t.delete_key("k"))
        batch = t.encrypt_data("r", plaintext="", batch_input=[{"plaintext": b64("a")}, {"plaintext": b64("b")}])["data"]["batch_results"]
        back = t.decrypt_data("r", ciphertext="", batch_input=[{"ciphertext": e["ciphertext"]} for e in batch])["data"]["batch_results"]
        self.assertEqual([e["plaintext"] for e in back], [b64("a"), b64("b")])


class Identity(Case):
    def setUp(self):
        super().setUp()
        self.auth("userpass")
        self.accessor = self.c.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
        self.i = self.c.secrets.identity

    def entity(self, name, **kw):
        made = self.i.create_or_update_entity(name, **kw)["data"]["id"]
        self.addCleanup(self.i.delete_entity, made)
        return made

    def test_entities(self):
        i = self.i
        one = self.entity("one", metadata={"a": "b"}, policies=["dev"])
        self.assertEqual(i.read_entity(one)["data"]["metadata"], {"a": "b"})
        self.assertEqual(i.read_entity_by_name("one")["data"]["id"], one)
        i.update_entity(one, metadata={"a": "c"}, disabled=True)
        self.assertTrue(i.read_entity(one)["data"]["disabled"])
        self.assertIn(one, i.list_entities()["data"]["keys"])
        self.assertIn(one, i.list_entities(method="GET")["data"]["keys"])
        self.assertIn("one", i.list_entities_by_name()["data"]["keys"])
        i.create_or_update_entity_by_name("two")
        two = i.lookup_entity(name="two")["data"]["id"]
        self.gone(i.merge_entities([two], one))
        self.fails(exceptions.InvalidPath, i.read_entity, two)
        i.create_or_update_entity_by_name("three")
        self.gone(i.delete_entity_by_name("three"))

    def test_aliases(self):
        i = self.i
        one = self.entity("one")
        alias = i.create_or_update_entity_alias("ann", one, self.accessor)["data"]["id"]
        self.assertEqual(i.read_entity_alias(alias)["data"]["name"], "ann")
        self.assertIn(alias, i.list_entity_aliases()["data"]["keys"])
        self.assertEqual(i.lookup_entity(alias_name="ann", alias_mount_accessor=self.accessor)["data"]["id"], one)
        i.update_entity_alias(alias, "bob", one, self.accessor)
        self.assertEqual(i.read_entity_alias(alias)["data"]["name"], "bob")
        self.c.auth.userpass.create_or_update_user("bob", "pw")
        me = hvac.Client(url=ADDR)
        self.assertEqual(me.auth.userpass.login("bob", "pw")["auth"]["entity_id"], one)
        self.gone(i.delete_entity_alias(alias))

    def test_groups(self):
        i = self.i
        one = self.entity("one")
        group = i.create_or_update_group("g", member_entity_ids=[one], policies=["dev"], metadata={"a": "b"})["data"]["id"]
        self.assertEqual(i.read_group(group)["data"]["member_entity_ids"], [one])
        self.assertEqual(i.read_group_by_name("g")["data"]["id"], group)
        self.assertIn(group, i.read_entity(one)["data"]["group_ids"])
        i.update_group(group, "g", policies=["other"])
        self.assertEqual(i.read_group(group)["data"]["policies"], ["other"])
        self.assertIn(group, i.list_groups()["data"]["keys"])
        self.assertIn("g", i.list_groups_by_name()["data"]["keys"])
        self.assertEqual(i.lookup_group(name="g")["data"]["id"], group)
        outside = i.create_or_update_group("x", group_type="external")["data"]["id"]
        alias = i.create_or_update_group_alias("ga", mount_accessor=self.accessor, canonical_id=outside)["data"]["id"]
        self.assertEqual(i.read_group_alias(alias)["data"]["name"], "ga")
        self.assertIn(alias, i.list_group_aliases()["data"]["keys"])
        self.gone(i.delete_group_alias(alias))
        self.gone(i.delete_group_by_name("x"))
        self.gone(i.delete_group(group))

    def test_tokens(self):
        i = self.i
        i.configure_tokens_backend(issuer="https://example.com:1234")
        self.assertEqual(i.read_tokens_backend_configuration()["data"]["issuer"], "https://example.com:1234")
        self.gone(i.create_named_key("k", allowed_client_ids=["*"], algorithm="ES256"))
        self.assertEqual(i.read_named_key("k")["data"]["algorithm"], "ES256")
        self.assertIn("k", i.list_named_keys()["data"]["keys"])
        self.gone(i.rotate_named_key("k", verification_ttl="24h"))
        self.gone(i.create_or_update_role("r", "k"))
        self.assertEqual(i.read_role("r")["data"]["key"], "k")
        self.assertIn("r", i.list_roles()["data"]["keys"])
        self.c.auth.userpass.create_or_update_user("ann", "pw", policies="oidc")
        self.c.sys.create_or_update_policy("oidc", 'path "identity/oidc/token/r" { capabilities = ["read"] }')
        me = hvac.Client(url=ADDR)
        me.auth.userpass.login("ann", "pw")
        token = me.secrets.identity.generate_signed_id_token("r")["data"]["token"]
        self.assertTrue(i.introspect_signed_id_token(token)["active"])
        self.assertIn("jwks_uri", i.read_well_known_configurations())
        self.assertTrue(i.read_active_public_keys()["keys"])
        self.gone(i.delete_role("r"))
        self.gone(i.delete_named_key("k"))


if __name__ == "__main__":
    unittest.main()
