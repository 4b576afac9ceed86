/*
 * D6 of the catalogue: the daemon puts a credential into requests, and a sandbox tries to get at it. What the servers were
 * told is seen in their log, outside; inside, no byte of the secret may appear anywhere.
 */
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
import { OTHER, RESOLVER } from './zone.mjs';

const TOKEN = 'sk-7c1f0e9b42d8';
const SECRET = `Bearer ${TOKEN}`;
const KEY = 'key-aabacabadabacaba'; /* repeats itself, as a naive search would get wrong */

if (inOwnNetwork(import.meta.url, 'credentials')) {
  describe('credentials', () => {
    const internet = new Internet();
    let daemon;
    let api;
    let id;

    const credential = (more = {}) => ({ header: 'Authorization', secret: 'token', ...more });
    const policy = (rule = {}, others = []) => ({ mode: 'deny', hosts: [{ host: 'web.test', credentials: [credential()], ...rule }, 'other.test', ...others] });

    before(async () => {
      await internet.start();
      daemon = new Daemon({ options: ['--egress-resolvers', RESOLVER, '--egress-ca-file', internet.caFile, '--sandbox-max-sandboxes', '24'] });
      await daemon.start();
      api = new Api(daemon);
      assert.equal((await api.put('/v1/secrets/token', JSON.stringify({ value: SECRET }))).status, 201);
      assert.equal((await api.put('/v1/secrets/key', JSON.stringify({ value: KEY }))).status, 201);
      id = await sandbox({ egress: policy() });
    });
    after(async () => {
      api.close();
      await daemon.stop();
      await internet.stop();
    });

    const helpers = inside(() => api);
    const { sandbox } = helpers;
    const setPolicy = (body) => helpers.setPolicy(id, body);
    const egress = () => helpers.egress(id);

    /* Runs it; whatever happens, the secret is not in what came of it. */
    const attempt = async (argv) => {
      const result = await api.exec(id, argv);
      assert.ok(result.code !== undefined, result.text);
      for (const secret of [TOKEN, KEY]) assert.ok(!`${result.out}${result.err}`.includes(secret), `${argv}: ${result.out}${result.err}`);
      return result;
    };
    /* What servers saw of it: [host, Authorization]. */
    const seen = async () => (await internet.log()).filter(({ url }) => url).map(({ tls, host, headers }) => [tls || host, headers.authorization]);
    const asked = async (...args) => {
      await internet.log();
      const result = await attempt(curl(...args));
      return { ...result, seen: await seen() };
    };
    /* Bytes over TLS to web.test, and everything that comes back, to its end or to `last`. */
    const talk = (bytes, last = '') => ['python3', '-c', `
import socket, ssl, sys
s = ssl.create_default_context().wrap_socket(socket.create_connection(('web.test', 443), 60), server_hostname='web.test')
s.settimeout(60)
s.sendall(${bytes})
got = b''
try:
    while True:
        piece = s.recv(65536)
        if not piece: break
        got += piece
        if b'${last}' and got.endswith(b'${last}'): break
except OSError: pass
print(got.decode('latin1'))`];

    describe('are given', () => {
      test('to their host, in place of nothing or of a placeholder, in any spelling and number', async () => {
        const given = [['web.test', SECRET]];
        assert.deepEqual((await asked('https://web.test/')).seen, given);
        for (const field of ['Authorization: placeholder', 'authorization: Basic eDp5', 'AUTHORIZATION:'])
          assert.deepEqual((await asked('-H', field, 'https://web.test/')).seen, given, field);
        await internet.log();
        await attempt(curl('-H', 'Authorization: one', '-H', 'authorization: two', 'https://web.test/'));
        const [{ raw }] = (await internet.log()).filter(({ url }) => url);
        assert.equal(raw.filter((text) => /^authorization$/i.test(text)).length, 1);
        assert.ok((await egress()).counters.credentialedRequests >= 5);
      });

      test('to a body of any size and to each request of a connection', async () => {
        assert.deepEqual((await asked('-d', 'x'.repeat(100000), 'https://web.test/', 'https://web.test/2')).seen, [['web.test', SECRET], ['web.test', SECRET]]);
      });

      test('by method and path, several at once, and changed at once', async () => {
        await setPolicy(policy({ credentials: [credential({ methods: ['POST'], paths: ['/v1/*'] }), { header: 'X-Api-Key', secret: 'key' }] }));
        assert.deepEqual((await asked('https://web.test/v1/a')).seen, [['web.test', undefined]]);
        assert.deepEqual((await asked('-d', 'x', 'https://web.test/v2/a')).seen, [['web.test', undefined]]);
        assert.deepEqual((await asked('-d', 'x', '--path-as-is', 'https://web.test/v1/../v2')).seen, [['web.test', undefined]]);
        assert.deepEqual((await asked('-d', 'x', 'https://web.test/v1/%2e%2e/v2')).seen, [['web.test', undefined]]);
        await internet.log();
        await attempt(curl('-d', 'x', 'https://web.test/v1/a'));
        const [{ headers }] = (await internet.log()).filter(({ url }) => url);
        assert.deepEqual([headers.authorization, headers['x-api-key']], [SECRET, KEY]);
        await api.put('/v1/secrets/key', JSON.stringify({ value: `${KEY}-2` }));
        await attempt(curl('https://web.test/v1/a'));
        assert.equal((await internet.log()).find(({ url }) => url).headers['x-api-key'], `${KEY}-2`);
        await api.put('/v1/secrets/key', JSON.stringify({ value: KEY }));
        await setPolicy(policy());
      });

      test('not in clear text, unless the policy says so', async () => {
        assert.deepEqual((await asked('http://web.test/')).seen, [['web.test', undefined]]);
        await setPolicy(policy({ credentials: [credential({ plainHttp: true })] }));
        assert.deepEqual((await asked('http://web.test/')).seen, [['web.test', SECRET]]);
        await setPolicy(policy());
      });
    });

    describe('are given to nobody else', () => {
      for (const [name, args] of Object.entries({
        'another host': ['https://other.test/'],
        'another host that is asked for on the connection': ['-H', 'Host: other.test', 'https://web.test/'],
        'the host that a name was told for, at an address of another': ['--resolve', `web.test:443:${OTHER}`, 'https://web.test/'],
        'where the server redirects to': ['-L', 'https://web.test/redirect/https%3A%2F%2Fother.test%2Fx'],
        'where it redirects to, with the field kept': ['-L', '--location-trusted', '-H', 'Authorization: x', 'https://web.test/redirect/https%3A%2F%2Fother.test%2Fx'],
        'the same host in clear text, redirected to': ['-L', 'https://web.test/redirect/http%3A%2F%2Fweb.test%2Fx'],
      }))
        test(name, async () => {
          const { seen: requests } = await asked(...args);
          for (const [host, value] of requests) if (value === SECRET) assert.equal(host, 'web.test');
          assert.ok(!requests.some(([host, value]) => host !== 'web.test' && value === SECRET));
          const hosts = (await internet.log()).map(({ headers }) => headers?.authorization);
          assert.ok(!hosts.includes(SECRET));
        });

      test('the same host behind a redirect to clear text gets none', async () => {
        const { seen: requests } = await asked('-L', 'https://web.test/redirect/http%3A%2F%2Fweb.test%2Fx');
        assert.deepEqual(requests, [['web.test', SECRET], ['web.test', undefined]]);
      });

      test('a host that shows no good certificate', async () => {
        await setPolicy({ mode: 'deny', hosts: ['untrusted.test', 'wrong.test'].map((host) => ({ host, credentials: [credential()] })) });
        for (const host of ['untrusted.test', 'wrong.test']) assert.deepEqual((await asked('-k', `https://${host}/`)).seen, []);
        await setPolicy(policy());
      });

      test('requests that are hidden behind others', async () => {
        const first = 'GET /1 HTTP/1.1\\r\\nHost: web.test\\r\\n';
        const hidden = 'GET /2 HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n';
        for (const bytes of [
          `${first}\\r\\n${hidden}`,
          `${first}Content-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n${hidden}`,
          `${first}Transfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n${hidden}`,
          `${first}Content-Length: 0\\r\\nContent-Length: 40\\r\\n\\r\\n${hidden}`,
          `${first}X: y\\nAuthorization: z\\r\\n\\r\\n`,
          `${first}X: y\\r\\n Authorization: z\\r\\n\\r\\n`,
          `${first}Authorization : z\\r\\n\\r\\n`,
          `GET /1 HTTP/1.1\\r\\nHost: web.test\\r\\nHost: other.test\\r\\n\\r\\n`,
          `GET http://other.test/ HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n`,
        ]) {
          await internet.log();
          await attempt(talk(`b'${bytes}'`));
          const requests = await seen();
          assert.ok(requests.every(([host, value]) => host === 'web.test' && value === SECRET), JSON.stringify([bytes, requests]));
          assert.ok(requests.length <= 1, JSON.stringify([bytes, requests]));
        }
      });

      test('TRACE, which would show the request', async () => {
        const result = await asked('-X', 'TRACE', 'https://web.test/');
        assert.deepEqual([result.out, result.seen], ['egress: TRACE would show a credential\n', []]);
      });
    });

    describe('do not come back', () => {
      const ways = ['/echo', '/echo/length', '/echo/bytes', '/echo/close', '/echo/gzip', '/echo/header', '/echo/reason', '/echo/location', '/echo/error', '/echo/interim'];
      for (const way of ways)
        test(`from a server that sends back what it was told: ${way}`, async () => {
          const before = (await egress()).counters.deniedConnections;
          const result = await asked('-i', '--compressed', `https://web.test${way}`);
          assert.deepEqual(result.seen, [['web.test', SECRET]]);
          const { counters, denied } = await egress();
          assert.equal(counters.deniedConnections, before + 1);
          assert.equal(denied.at(-1).reason, 'the server sent a credential back');
        });

      test('also where what comes back begins at the end of one piece and ends in the next', async () => {
        await setPolicy(policy({ credentials: [credential(), { header: 'X-Api-Key', secret: 'key' }] }));
        for (const size of [16320, 16330, 16340, 16350, 16360, 16370, 16380, 65000, 262000]) {
          const { out } = await attempt(curl(`https://web.test/echo/padded/${size}`));
          for (const secret of [TOKEN, KEY]) assert.ok(!out.includes(secret.slice(0, 6)), `${size}: ${out.slice(-100)}`);
        }
        await setPolicy(policy());
      });

      test('over a connection that was upgraded', async () => {
        const { out } = await attempt(talk(String.raw`b'GET /echo HTTP/1.1\r\nHost: web.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'`));
        assert.match(out, /^HTTP\/1\.1 101/);
        assert.ok(!out.includes('sk-'));
      });

      test('and a message over it that ends like the beginning of one is not kept back', async () => {
        const { out } = await attempt(talk(String.raw`b'GET / HTTP/1.1\r\nHost: web.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nyes'`, 'yes'));
        assert.match(out, /yes\n$/);
      });

      test('and what does not hold them passes as it is, also what looks like their beginning', async () => {
        const page = path.join(internet.www, 'page');
        fs.writeFileSync(page, `${KEY.slice(0, 15)} sk-7c1f0e9b42d7 Bearer sk-7c1f0e9b42`);
        const { out } = await attempt(curl('https://web.test/page'));
        assert.equal(out, fs.readFileSync(page, 'utf8'));
      });
    });

    describe('are not to be found', () => {
      test('in the sandbox: environment, processes, files', async () => {
        await attempt(curl('https://web.test/'));
        await attempt(sh(`cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; grep -rsl -e '${TOKEN.slice(0, 8)}' /etc /tmp /var /run /root /home /workspace || true`));
      });

      test('in answers of the API, the metrics, the events and the logs', async () => {
        const list = await api.get('/v1/secrets');
        assert.deepEqual(list.json.secrets.map(({ name }) => name), ['key', 'token']);
        const texts = [list.text, (await api.get('/metrics')).text, (await api.get(`/v1/sandbox/${id}/egress`)).text, (await api.get(`/v1/sandbox/${id}`)).text,
          (await api.get(`/v1/sandbox/${id}/events`)).text, (await api.get('/v1/sandboxes')).text, daemon.lines.join('\n')];
        for (const text of texts) for (const secret of [TOKEN, KEY]) assert.ok(!text.includes(secret));
        assert.equal((await api.get('/v1/secrets/token')).status, 404);
      });

      test('in the errors of a bad value, a bad name or a bad policy', async () => {
        for (const [target, value] of [['/v1/secrets/token', `${SECRET}\r\nX-Injected: yes`], ['/v1/secrets/token', `${SECRET} `], ['/v1/secrets/token', `\u00e4${SECRET}`],
          ['/v1/secrets/token', 'short'], ['/v1/secrets/..%2ftoken', SECRET], [`/v1/secrets/${'n'.repeat(65)}`, SECRET]]) {
          const response = await api.put(target, JSON.stringify({ value }));
          assert.ok(response.status === 400 || response.status === 404, `${target} ${response.status}`);
          assert.ok(!response.text.includes(TOKEN));
        }
        for (const bad of [{ header: 'Host', secret: 'token' }, { header: 'Content-Length', secret: 'token' }, { header: 'Connection', secret: 'token' },
          { header: 'Proxy-Authorization', secret: 'token' }, { header: 'X\r\nY', secret: 'token' }, { header: 'Authorization', secret: 'unknown' },
          { header: 'Authorization', value: SECRET }, { header: 'Authorization', secret: 'token', plainHttp: 'yes' }, { header: 'Authorization' }]) {
          const response = await api.put(`/v1/sandbox/${id}/egress`, JSON.stringify(policy({ credentials: [bad] })));
          assert.equal(response.status, 400, JSON.stringify(bad));
          assert.ok(!response.text.includes(TOKEN));
        }
        assert.equal((await api.put(`/v1/sandbox/${id}/egress`, JSON.stringify({ mode: 'deny', hosts: [{ host: '*', credentials: [credential()] }] }))).status, 400);
      });
    });

    test('one that was removed is not missed silently: requests that need it are refused, and no policy may name it', async () => {
      await api.put('/v1/secrets/brief', JSON.stringify({ value: 'brief-value' }));
      await setPolicy(policy({ credentials: [credential({ secret: 'brief' })] }));
      assert.deepEqual((await asked('https://web.test/')).seen, [['web.test', 'brief-value']]);
      assert.equal((await api.delete('/v1/secrets/brief')).status, 204);
      assert.equal((await api.delete('/v1/secrets/brief')).status, 404);
      const { out, seen: requests } = await asked('https://web.test/');
      assert.deepEqual([out, requests], ['egress: a secret of the policy is not there\n', []]);
      assert.equal((await api.put(`/v1/sandbox/${id}/egress`, JSON.stringify(policy({ credentials: [credential({ secret: 'brief' })] })))).status, 400);
      await setPolicy(policy());
    });

    test('a request under way ends with the credential that it was given', async () => {
      const end = await helpers.hold(id, 'web.test', String.raw`b'POST /long HTTP/1.1\r\nHost: web.test\r\nContent-Length: 1000\r\n\r\nbegun'`);
      await until('it is under way', async () => (await internet.log()).some(({ url }) => url === '/long'));
      await setPolicy({ mode: 'deny', hosts: ['web.test'] });
      assert.match(await end(), /^(b''|ConnectionResetError|SSLEOFError)$/);
      await setPolicy(policy());
    });

    test('berm stores, lists and removes them, and they survive the daemon', async () => {
      const berm = (input, ...args) => execFileSync(path.resolve(process.env.BERM_BUILD ?? 'build', 'berm'), args,
        { input, encoding: 'utf8', stdio: 'pipe', env: { ...process.env, BERM_URL: daemon.url } });
      assert.equal(berm('stored-by-berm\n', 'secret', 'set', 'cli'), '');
      assert.deepEqual(JSON.parse(berm('', 'secret', 'ls')).secrets.map(({ name }) => name), ['cli', 'key', 'token']);
      assert.throws(() => berm('bad\nvalue', 'secret', 'set', 'cli'), (error) => /value must be/.test(error.stderr) && !/bad/.test(error.stderr));
      await daemon.end('SIGKILL');
      api.close();
      await daemon.start();
      api = new Api(daemon);
      await until('the way out is up again', async () => (await egress()).state === 'up');
      await setPolicy(policy({ credentials: [credential({ secret: 'cli' })] }));
      assert.deepEqual((await asked('https://web.test/')).seen, [['web.test', 'stored-by-berm']]);
      berm('', 'secret', 'rm', 'cli');
      assert.throws(() => berm('', 'secret', 'rm', 'cli'), /no such secret/);
    });
  });
}
