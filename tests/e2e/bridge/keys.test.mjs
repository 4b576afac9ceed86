/* Who may call: API keys from a file and from the API. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('keys', { skip: whyNoDaemon() }, () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-keys-'));
  const file = path.join(directory, 'keys');
  const write = (text) => {
    fs.chmodSync(directory, 0o755);
    fs.writeFileSync(file, text, { mode: 0o644 });
  };
  let daemon;
  let open;

  before(async () => {
    write('# none yet\n');
    daemon = await new Daemon({ poolSize: 0, options: ['--auth-keys-file', file] }).start();
    open = new Api(daemon);
  });
  after(async () => {
    open.close();
    await daemon.stop();
    fs.rmSync(directory, { recursive: true });
  });

  const refused = async (api, method = 'GET', route = '/v1/sandboxes') => {
    const response = await api.call(method, route);
    assert.equal(response.status, 401);
    assert.deepEqual(response.json, { error: 'Unauthorized', code: 'unauthorized', context: {} });
  };

  test('without keys loopback is served; the first key closes the door', async () => {
    assert.equal((await open.get('/v1/sandboxes')).status, 200);
    const made = await open.post('/v1/keys', { label: 'laptop' });
    assert.equal(made.status, 201);
    assert.match(made.json.key, /^berm_[a-z2-7]{52}$/);
    assert.equal(made.json.label, 'laptop');
    await refused(open);
    await refused(open, 'POST', '/v1/keys');
    await refused(open, 'GET', '/metrics');
    await refused(open, 'DELETE', '/v1/sandbox/abc');
    await refused(open, 'POST', '/v1/sandbox/abc/exec');
    await refused(open, 'GET', '/nope');
    assert.equal((await open.get('/health')).status, 200);
    assert.equal((await open.get('/v1/sandbox/BAD/running')).status, 400);

    const keyed = new Api(daemon, made.json.key);
    assert.equal((await keyed.get('/v1/sandboxes')).status, 200);
    const { keys } = (await keyed.get('/v1/keys')).json;
    assert.deepEqual(keys.map((key) => [key.id, key.label]), [[made.json.id, 'laptop']]);
    assert.ok(!JSON.stringify(keys).includes(made.json.key.slice(5)));
    assert.equal((await open.get('/v1/sandboxes', { headers: { authorization: `bearer ${made.json.key}` } })).status, 200);
    assert.equal((await open.get('/v1/sandboxes', { headers: { authorization: `Basic ${made.json.key}` } })).status, 401);
    assert.equal((await keyed.delete('/v1/keys/nosuchkey')).status, 404);
    assert.equal((await keyed.delete(`/v1/keys/${made.json.id}`)).status, 204);
    keyed.close();
    assert.equal((await open.get('/v1/sandboxes')).status, 200);
  });

  test('without keys a web page cannot use that its browser is local', async () => {
    const status = async (headers) => (await open.post('/v1/sandbox', '', { headers })).status;
    assert.equal(await status({ origin: 'https://evil.example' }), 401);
    assert.equal(await status({ origin: 'null' }), 401);
    assert.equal(await status({ host: 'rebound.example' }), 401);
    assert.equal(await status({ host: `rebound.example:${daemon.port}`, origin: `http://rebound.example:${daemon.port}` }), 401);
    assert.equal(await status({ origin: daemon.url }), 200);
    assert.equal(await status({ host: `localhost:${daemon.port}` }), 200);
    const made = (await open.post('/v1/keys')).json;
    assert.equal(await status({ origin: 'https://console.example', host: 'berm.example', authorization: `Bearer ${made.key}` }), 200);
    await open.delete(`/v1/keys/${made.id}`, { headers: { authorization: `Bearer ${made.key}` } });
  });

  test('keys survive a restart and are stored hashed only', async () => {
    const made = (await open.post('/v1/keys')).json;
    assert.equal(made.label, null);
    await daemon.end('SIGKILL');
    const stored = fs.readdirSync(path.join(daemon.data, 'state')).map((name) => fs.readFileSync(path.join(daemon.data, 'state', name)));
    assert.ok(stored.every((bytes) => !bytes.includes(made.key.slice(5))));
    assert.ok(stored.some((bytes) => bytes.includes(createHash('sha256').update(made.key).digest())));
    await daemon.start();
    await refused(open);
    const keyed = new Api(daemon, made.key);
    assert.equal((await keyed.delete(`/v1/keys/${made.id}`)).status, 204);
    keyed.close();
  });

  test('the file is read again on SIGHUP, and a broken one changes nothing', async () => {
    const key = 'a-key-from-the-operators-file';
    const keyed = new Api(daemon, key);
    const reload = async (text, event) => {
      const before = daemon.log(event).length;
      write(text);
      daemon.child.kill('SIGHUP');
      await until(event, () => daemon.log(event).length > before);
    };
    await reload(`sha256:${createHash('sha256').update(key).digest('hex')}\n`, 'keys.reloaded');
    await refused(open);
    assert.equal((await keyed.get('/v1/sandboxes')).status, 200);
    assert.deepEqual((await keyed.get('/v1/keys')).json.keys, []);
    await reload('short\n', 'keys.reload_failed');
    assert.equal((await keyed.get('/v1/sandboxes')).status, 200);
    await reload('\n', 'keys.reloaded');
    assert.equal((await open.get('/v1/sandboxes')).status, 200);
    keyed.close();
  });

  test('keys and variables never reach the log', async () => {
    const made = (await open.post('/v1/keys')).json;
    const keyed = new Api(daemon, made.key);
    await keyed.put('/v1/sandbox/secret', { env: { PASSWORD: 'hunter2hunter2' } });
    await keyed.exec('secret', ['echo', 'hunter3hunter3'], { env: { TOKEN: 'hunter4hunter4' } });
    await keyed.delete(`/v1/keys/${made.id}`);
    const log = daemon.lines.join('\n');
    for (const text of [made.key, 'hunter2', 'hunter3', 'hunter4']) assert.ok(!log.includes(text));
    keyed.close();
  });
});
