/* TLS of sandboxes: intercepted where a policy says something about requests, untouched elsewhere. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { curl, inside, sh } from './inside.mjs';
import { inOwnNetwork, Internet } from './internet.mjs';
import { installPackages, makePackages } from './packages.mjs';
import { GATEWAY, OTHER, RESOLVER, WEB } from './zone.mjs';

/* Who has signed what a client is shown, whether or not it trusts it. */
const issuer = (name) => ['python3', '-c', `
import socket, ssl, subprocess
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
s = c.wrap_socket(socket.create_connection(('${name}', 443), 60), server_hostname='${name}')
pem = ssl.DER_cert_to_PEM_cert(s.getpeercert(True))
print(subprocess.run(['openssl', 'x509', '-noout', '-issuer'], input=pem, text=True, capture_output=True).stdout)`];

const TESTS_CA = /the authority of the tests/;
const BERM_CA = /Berm sandbox egress/;

if (inOwnNetwork(import.meta.url, 'TLS of sandboxes')) {
  describe('TLS', () => {
    const internet = new Internet();
    let daemon;
    let api;

    before(async () => {
      makePackages(internet.www);
      await internet.start();
      daemon = new Daemon({ options: ['--egress-resolvers', RESOLVER, '--egress-ca-file', internet.caFile, '--sandbox-max-sandboxes', '24'] });
      await daemon.start();
      api = new Api(daemon);
    });
    after(async () => {
      api.close();
      await daemon.stop();
      await internet.stop();
    });

    const { sandbox, egress, setPolicy, out, fails, hold } = inside(() => api);
    const reasons = async (id) => (await egress(id)).denied.map(({ reason }) => reason);

    describe('where methods and paths are named', () => {
      let id;
      before(async () => (id = await sandbox({ egress: { mode: 'deny', hosts: ['web.test',
        { host: 'other.test', methods: ['GET'], paths: ['/ok/*'] }, { host: 'wrong.test', methods: ['GET'] },
        { host: 'untrusted.test', methods: ['GET'] }, { host: '*.sub.test', methods: ['GET', 'POST'] }] } })));

      test('is intercepted, and elsewhere it is not', async () => {
        assert.match(await out(id, issuer('other.test')), BERM_CA);
        assert.match(await out(id, issuer('a.sub.test')), BERM_CA);
        assert.match(await out(id, issuer('web.test')), TESTS_CA);
        assert.ok((await egress(id)).counters.interceptedConnections >= 2);
      });

      test('they hold for each request, also behind the first one of a connection', async () => {
        await internet.log();
        assert.equal(JSON.parse(await out(id, curl('https://other.test/ok/1'))).tls, 'other.test');
        assert.equal(await out(id, curl('https://other.test/no')), 'egress: path not allowed\n');
        assert.equal(await out(id, curl('-d', 'x', 'https://other.test/ok/1')), 'egress: method not allowed\n');
        assert.equal(await out(id, curl('--path-as-is', 'https://other.test/ok/../no')), 'egress: ambiguous path\n');
        assert.match(await out(id, curl('https://other.test/ok/1', 'https://other.test/no')), /"\/ok\/1"[^]*path not allowed/);
        assert.match(await out(id, curl('-H', 'Host: web.test', 'https://other.test/ok/1')), /another host on the same connection/);
        assert.deepEqual((await internet.log()).map(({ url }) => url).filter(Boolean), ['/ok/1', '/ok/1']);
        assert.ok((await reasons(id)).includes('path not allowed'));
      });

      test('a server whose certificate is not good is refused, whoever asks', async () => {
        for (const name of ['wrong.test', 'untrusted.test'])
          assert.match(await fails(id, curl('-k', `https://${name}/`)), /reset|SSL/i);
        assert.equal((await reasons(id)).filter((reason) => reason === "the server's certificate was not accepted").length, 2);
      });

      test('clients that want HTTP/2 or an older TLS only are refused, others get HTTP/1.1', async () => {
        const offer = (list, more = '') => ['python3', '-c', `
import socket, ssl
c = ssl.create_default_context(); c.set_alpn_protocols(${list}); ${more}
try: print(c.wrap_socket(socket.create_connection(('other.test', 443), 60), server_hostname='other.test').selected_alpn_protocol())
except (ssl.SSLError, OSError) as e: print('refused')`];
        assert.equal(await out(id, offer("['h2', 'http/1.1']")), 'http/1.1\n');
        assert.equal(await out(id, offer("['h2']")), 'refused\n');
        assert.equal(await out(id, offer("['http/1.1']", "c.minimum_version = ssl.TLSVersion.TLSv1; c.maximum_version = ssl.TLSVersion.TLSv1_1; c.set_ciphers('ALL:@SECLEVEL=0')")), 'refused\n');
      });

      test('many handshakes at once all come about', async () => {
        assert.equal(await out(id, ['python3', '-c', `
import asyncio, ssl
c = ssl.create_default_context()
async def get():
    r, w = await asyncio.open_connection('${OTHER}', 443, ssl=c, server_hostname='other.test', ssl_handshake_timeout=100)
    w.write(b'GET /ok/a HTTP/1.1\\r\\nHost: other.test\\r\\nConnection: close\\r\\n\\r\\n')
    return (await r.read()).split()[1].decode()
async def all(): return await asyncio.gather(*[get() for _ in range(60)])
answers = asyncio.run(all())
print(len(answers), *set(answers))`]), '60 200\n');
      });

      test('large bodies and upgrades pass', async () => {
        assert.equal(await out(id, sh('curl -sS -m 100 https://a.sub.test/bytes/30000000 | wc -c')), '30000000\n');
        assert.equal(JSON.parse(await out(id, sh('head -c 3000000 /dev/zero | curl -sS -m 100 -X POST -T - https://a.sub.test/up'))).size, 3000000);
        assert.equal(await out(id, ['python3', '-c', `
import socket, ssl
s = ssl.create_default_context().wrap_socket(socket.create_connection(('a.sub.test', 443), 60), server_hostname='a.sub.test')
s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.sub.test\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
print(s.recv(200).split()[1].decode())
s.sendall(b'ping'); print(s.recv(10).decode())`]), '101\nping\n');
      });

      test('each sandbox has an authority of its own, which signs for nobody else and whose key is not in there', async () => {
        const second = await sandbox({ egress: { mode: 'deny', hosts: [{ host: 'other.test', methods: ['GET'] }] } });
        const certificate = '/etc/cloudflare/certs/cloudflare-containers-ca.crt';
        const pem = await out(id, ['cat', certificate]);
        assert.notEqual(pem, await out(second, ['cat', certificate]));
        await api.put(`/v1/sandbox/${second}/file/workspace/first.crt`, pem);
        assert.match(await fails(second, ['env', '-u', 'SSL_CERT_FILE', ...curl('--cacert', '/workspace/first.crt', 'https://other.test/')]), /unable to get local issuer|self.signed/i);
        assert.equal(await out(id, sh("grep -rlsE 'BEGIN [A-Z ]*PRIVATE KEY' /etc /root /tmp /var /run /home || true")), '');
        const state = (await api.get(`/v1/sandbox/${id}`)).text + JSON.stringify(await egress(id)) + daemon.lines.join('\n');
        assert.doesNotMatch(state, /PRIVATE KEY/);
      });
    });

    describe('curl, wget, node, python, git, pip, npm and apt', () => {
      const small = async (id) => {
        assert.equal(JSON.parse(await out(id, curl('https://web.test/a'))).tls, 'web.test');
        assert.equal(JSON.parse(await out(id, sh('wget -q -T 60 -O - https://web.test/a'))).tls, 'web.test');
        assert.equal(JSON.parse(await out(id, ['node', '-e', "fetch('https://web.test/a').then((r) => r.text()).then(console.log)"])).tls, 'web.test');
        assert.equal(JSON.parse(await out(id, ['python3', '-c', "import urllib.request; print(urllib.request.urlopen('https://web.test/a', timeout=60).read().decode())"])).tls, 'web.test');
      };

      test('work where everything is intercepted', async () => {
        const id = await sandbox({ egress: { mode: 'deny', hosts: ['web', 'other', 'registry'].map((name) => ({ host: `${name}.test`, methods: ['GET', 'HEAD'] })) } });
        await small(id);
        await installPackages((argv) => out(id, argv), 'https');
        assert.ok((await egress(id)).counters.interceptedConnections >= 8);
        assert.equal((await egress(id)).counters.deniedConnections, 0);
      });

      test('work where nothing is, with who signed the servers trusted by hand', async () => {
        const id = await sandbox({ env: Object.fromEntries(['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'REQUESTS_CA_BUNDLE', 'GIT_SSL_CAINFO',
          'CURL_CA_BUNDLE'].map((name) => [name, '/workspace/ca.crt'])), egress: { mode: 'deny', hosts: ['web.test', 'other.test', 'registry.test'] } });
        await api.put(`/v1/sandbox/${id}/file/workspace/ca.crt`, fs.readFileSync(internet.caFile));
        await out(id, sh('cat /workspace/ca.crt >>/etc/ssl/certs/ca-certificates.crt')); /* for GnuTLS: wget and apt */
        await small(id);
        await installPackages((argv) => out(id, argv), 'https');
        assert.equal((await egress(id)).counters.interceptedConnections, 0);
      });
    });

    test('a policy that needs it comes to a running sandbox: what was open unread ends, and the authority is trusted at once', async () => {
      const id = await sandbox();
      const end = await hold(id, 'web.test', "b''");
      await setPolicy(id, { mode: 'allow', hosts: [{ host: 'web.test', methods: ['GET'] }] });
      assert.match(await end(), /^(b''|ConnectionResetError|SSLEOFError)$/);
      assert.equal(JSON.parse(await out(id, curl('https://web.test/a'))).tls, 'web.test');
      assert.equal(await out(id, curl('-d', 'x', 'https://web.test/a')), 'egress: method not allowed\n');
    });

    test('a request under way ends when the policy does not allow it any more', async () => {
      const id = await sandbox({ egress: { mode: 'deny', hosts: [{ host: 'a.sub.test', methods: ['GET', 'POST'] }] } });
      const end = await hold(id, 'a.sub.test', String.raw`b'POST /under-way HTTP/1.1\r\nHost: a.sub.test\r\nContent-Length: 1000\r\n\r\nbegun'`);
      await until('it is under way', async () => (await internet.log()).some(({ url }) => url === '/under-way'));
      await setPolicy(id, { mode: 'deny', hosts: [{ host: 'a.sub.test', methods: ['GET'] }] });
      assert.match(await end(), /^(b''|ConnectionResetError|SSLEOFError)$/);
      assert.ok((await reasons(id)).includes('method not allowed'));
    });

    test('a proxy is told who asks, is asked for addresses, and intercepted TLS goes through it', async () => {
      const file = path.join(internet.top, 'proxy-authorization');
      fs.writeFileSync(file, 'berm:sesame\n');
      for (const password of ['berm:sesame', 'berm:wrong']) {
        fs.writeFileSync(file, `${password}\n`);
        const behind = await new Daemon({ options: ['--egress-resolvers', RESOLVER, '--egress-ca-file', internet.caFile, '--sandbox-max-sandboxes', '4',
          '--egress-proxy', `${GATEWAY}:3128`, '--egress-proxy-authorization', file], poolSize: 0 }).start();
        const other = new Api(behind);
        try {
          const id = await other.newId();
          await other.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base', egress: { mode: 'deny', hosts: ['web.test', { host: 'other.test', methods: ['GET'] }] } }));
          await internet.log();
          const results = [];
          for (const url of ['http://web.test/a', 'https://other.test/a']) results.push(await other.exec(id, curl(url)));
          const connects = (await internet.log()).filter(({ connect }) => connect);
          assert.deepEqual(connects.map(({ connect }) => connect), [`${WEB}:80`, `${OTHER}:443`]);
          if (password === 'berm:sesame') {
            assert.deepEqual(results.map(({ out: text }) => JSON.parse(text).at), [WEB, OTHER]);
          } else {
            assert.doesNotMatch(results.map(({ out: text }) => text).join(), /"method"/);
            assert.match((await other.get(`/v1/sandbox/${id}/egress`)).text, /the proxy wants other credentials/);
          }
          assert.doesNotMatch(behind.lines.join('\n'), /sesame|c2VzYW1l/);
        } finally {
          other.close();
          await behind.stop();
        }
      }
    });

    test('without anybody who signs, nothing that would have to be intercepted goes out', async () => {
      const alone = await new Daemon({ options: ['--egress-resolvers', RESOLVER, '--egress-ca-file', '/dev/null', '--sandbox-max-sandboxes', '4'], poolSize: 0 }).start();
      const other = new Api(alone);
      try {
        const id = await other.newId();
        await other.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base', egress: { mode: 'deny', hosts: [{ host: 'web.test', methods: ['GET'] }] } }));
        await internet.log();
        assert.notEqual((await other.exec(id, curl('-k', 'https://web.test/'))).code, 0);
        assert.deepEqual((await internet.log()).filter(({ url }) => url), []);
      } finally {
        other.close();
        await alone.stop();
      }
    });

    test('the authority survives the daemon and the sleep of the sandbox, and goes with the sandbox', async () => {
      const id = await sandbox({ egress: { mode: 'deny', hosts: [{ host: 'web.test', methods: ['GET'] }] } });
      const certificate = ['cat', '/etc/cloudflare/certs/cloudflare-containers-ca.crt'];
      const pem = await out(id, certificate);
      await daemon.end('SIGKILL');
      api.close();
      await daemon.start();
      api = new Api(daemon);
      await until('the way out is up again', async () => (await egress(id)).state === 'up');
      assert.equal(JSON.parse(await out(id, curl('https://web.test/a'))).tls, 'web.test');
      assert.equal(await out(id, certificate), pem);
      assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
      assert.equal((await api.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base', egress: { mode: 'deny', hosts: [{ host: 'web.test', methods: ['GET'] }] } }))).status, 201);
      assert.notEqual(await out(id, certificate), pem);
    });
  });
}
