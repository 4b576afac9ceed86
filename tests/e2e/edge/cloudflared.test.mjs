/* edge.connector = cloudflared: quick tunnels through Cloudflare's own edge, by a process each. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import { after, before, beforeEach, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, hasImage, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from '../link/app.mjs';
import { childrenOf, kept, nameOf } from '../link/edge.mjs';
import { follow } from '../link/events.mjs';
import { Sdk } from '../sdk/lib/sandbox.mjs';
import { FakeCloudflared, isAlive } from './cloudflared.mjs';

const skip = whyNoDaemon() ?? (hasImage('base') ? undefined : 'no image base');
const connectorWorker = (daemon) => kept(daemon.pid, 'berm-connector').worker;
const URL_FORM = /^https:\/\/[a-z0-9-]+\.trycloudflare\.com$/;

describe('quick tunnels through cloudflared', { skip }, () => {
  let daemon, api, fake;

  const get = (port = 8080, id = 'app', body) => api.post(`/v1/sandbox/${id}/tunnel/${port}`, body);
  const drop = (port = 8080, id = 'app') => api.delete(`/v1/sandbox/${id}/tunnel/${port}`);
  const list = async (id = 'app') => (await api.get(`/v1/sandbox/${id}/tunnels`)).json.tunnels;
  /* After a failure there is a pause before the next try. */
  const getAfterPause = async (port = 8080, id = 'app') =>
    until('the pause is over', async () => { const answer = await get(port, id); return answer.status === 200 ? answer.json : undefined; });
  const refusal = async (port = 8080) =>
    until('it is tried', async () => { const answer = await get(port); return /try again in/.test(answer.json.error) ? undefined : answer; }, 120000);

  before(async () => {
    daemon = new Daemon();
    fake = new FakeCloudflared(daemon.top);
    daemon.options = ['--sandbox-image', 'base', '--edge-connector', 'cloudflared', '--edge-cloudflared', fake.program];
    await daemon.start();
    api = new Api(daemon);
    await api.put('/v1/sandbox/app', {});
    await serve(api, 'app', 8080);
  });
  after(async () => {
    api?.close();
    await daemon.stop();
  });
  beforeEach(() => { fake.mode = 'good'; });

  test('get gives a URL of Cloudflare\'s that leads to the sandbox, and the same again', async () => {
    const made = await get();
    assert.equal(made.status, 200, made.text);
    assert.match(made.json.url, URL_FORM);
    assert.match(made.json.id, /^quick-[0-9a-z]{20}$/);
    assert.equal(made.json.hostname, made.json.url.slice(8));
    assert.deepEqual((await get()).json, made.json);
    assert.deepEqual(await list(), [made.json]);
    const answer = await fake.visit(made.json.url, { path: '/a%20b?q=1' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.path, '/a%20b?q=1');
    const fields = Object.fromEntries(answer.json.headers);
    assert.equal(fields.host, made.json.hostname);
    assert.equal(fields['x-forwarded-for'], '203.0.113.7');
    assert.equal(fields['x-forwarded-proto'], 'https');
    assert.equal(fake.alive().length, 1);
  });

  test('the process has no rights, no descriptors and no environment of ours', async () => {
    const [run] = fake.alive();
    assert.ok(run.uid !== 0 && run.uid !== Number(fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8').match(/^Uid:\t(\d+)/m)[1]), `uid ${run.uid}`);
    assert.deepEqual([run.groups, run.noNewPrivs], [[], true]);
    assert.deepEqual([...new Set(run.caps.slice(0, 3))], ['0000000000000000']);
    assert.deepEqual(Object.keys(run.env).filter((name) => !['LC_CTYPE', '_'].includes(name)).sort(), ['HOME', 'LANG', 'PATH']);
    /* The others are of its own servers. */
    const inherited = Object.entries(run.fds).filter(([, to]) => !/^(socket:|\/proc\/)/.test(to));
    assert.deepEqual(inherited.filter(([fd]) => Number(fd) > 2), []);
    assert.equal(run.fds[0], '/dev/null');
    assert.match(run.fds[2], /^pipe:/);
    assert.ok(!run.args.includes('--token'));
    assert.deepEqual(run.args.slice(0, 4), ['tunnel', '--metrics', '127.0.0.1:0', '--no-autoupdate']);
  });

  test('what is asked at its origin reaches tunnels of Cloudflare\'s and nothing else', async () => {
    const [run] = fake.alive();
    const made = (await get()).json;
    const preview = (await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url;
    const ask = async (host, path = '/v1/sandbox') => {
      const [address, port] = run.origin.split(':');
      const request = http.request({ host: address, port, path, agent: false, headers: { host } });
      request.end();
      return collect((await once(request, 'response'))[0]);
    };
    assert.equal((await ask(made.hostname, '/')).status, 200);
    assert.equal((await ask(made.hostname.toUpperCase(), '/')).status, 200);
    for (const host of ['localhost', `localhost:${daemon.port}`, '127.0.0.1', new URL(preview).host, 'berm-link', `x.${made.hostname}`, 'trycloudflare.com', 'other.trycloudflare.com'])
      assert.equal((await ask(host)).status, 404, host);
    /* Nor does its name lead anywhere at the daemon's own port. */
    assert.equal((await api.get('/', { headers: { host: `${run.label}.localhost:${daemon.port}` } })).status, 404);
    assert.ok(!(await api.get('/a', { headers: { host: made.hostname } })).text.includes('"path"'));
  });

  test('destroy ends the process, and get then has another name', async () => {
    const made = (await get()).json, [run] = fake.alive();
    assert.equal((await drop()).status, 204);
    assert.equal((await drop()).status, 204);
    assert.deepEqual(await list(), []);
    await until('it has ended', () => !isAlive(run.pid));
    const again = (await get()).json;
    assert.ok(again.id !== made.id && again.url !== made.url);
    assert.equal((await fake.visit(again.url)).status, 200);
  });

  test('those who ask at once share one process; other ports have their own', async () => {
    await drop();
    const before = fake.runs().length;
    const [a, b, c] = await Promise.all([get(), get(), get(8081)]);
    assert.deepEqual(a.json, b.json);
    assert.ok(c.json.url !== a.json.url);
    assert.equal(fake.runs().length, before + 2);
    assert.equal((await fake.visit(c.json.url)).status, 502); /* nothing listens there */
    await drop(8081);
  });

  test('a killed process takes its tunnel along; the next get makes a new one', async () => {
    const made = (await get()).json, run = fake.alive().find(({ label }) => made.url.includes(label));
    process.kill(run.pid, 'SIGKILL');
    await until('list drops it', async () => (await list()).length === 0);
    const again = await getAfterPause();
    assert.ok(again.id !== made.id && again.url !== made.url);
  });

  test('a killed berm-connector takes all along; another one makes new ones', async () => {
    const made = [await getAfterPause(), await getAfterPause(8081)];
    const runs = fake.alive();
    assert.ok(runs.length >= 2);
    process.kill(connectorWorker(daemon), 'SIGKILL');
    await until('its processes are gone', () => !runs.some(({ pid }) => isAlive(pid)));
    await until('list drops them', async () => (await list()).length === 0);
    assert.equal((await api.get('/v1/link')).json.state, 'up');
    const again = await getAfterPause();
    assert.ok(made.every(({ url, id }) => url !== again.url && id !== again.id));
    assert.equal((await fake.visit(again.url)).status, 200);
    assert.equal(fake.alive().length, 1);
  });

  test('a named tunnel needs a token', async () => {
    const answer = await get(8082, 'app', { name: 'web' });
    assert.equal(answer.status, 502);
    assert.deepEqual(answer.json, { error: 'tunnel failed: named tunnels need edge.cloudflared_token', code: 'tunnel_error', context: {} });
  });

  test('one that dies, and one that Cloudflare gives nothing, are told as what they are', async () => {
    await drop();
    fake.mode = 'dies';
    const dead = await refusal();
    assert.equal(dead.status, 502);
    assert.deepEqual(dead.json, { error: 'tunnel failed: cloudflared exited (code=3)', code: 'tunnel_error', context: {} });
    /* The pause is a second at first, which may be over already. */
    await until('who asks again at once starts nothing', async () => {
      const before = fake.runs().length;
      return /exited \(code=3\); try again in \d+ s$/.test((await get()).json.error) && fake.runs().length === before;
    });
    fake.mode = 'limited';
    assert.match((await refusal()).json.error, /429 Too Many Requests/);
    assert.deepEqual(await list(), []);
    fake.mode = 'good';
    assert.match((await getAfterPause()).url, URL_FORM);
  });

  test('without the program it is said that there is none', async () => {
    await drop();
    fs.unlinkSync(fake.program);
    const answer = await refusal();
    assert.deepEqual(answer.json, { error: 'tunnel failed: there is no program cloudflared on this machine that may be run', code: 'tunnel_error', context: {} });
    assert.match((await api.get('/v1/link')).json.error, /no program cloudflared/);
    fake.install();
    await getAfterPause();
  });

  test('hostile output makes no name, and ten megabytes of it are nothing', async () => {
    for (const mode of ['hostile', 'chatty']) {
      await drop();
      fake.mode = mode;
      const made = await getAfterPause();
      assert.match(made.url, URL_FORM);
      assert.ok(fake.alive().some(({ label }) => made.url === `https://${label}.trycloudflare.com`), made.url);
      assert.equal((await fake.visit(made.url)).status, 200);
    }
  });

  test('a name that another tunnel has is refused', async () => {
    await drop();
    fake.mode = 'same';
    const first = await getAfterPause();
    assert.equal(first.url, 'https://same-as-another.trycloudflare.com');
    const second = await get(8083);
    assert.equal(second.status, 502);
    assert.match(second.json.error, /taken by another tunnel/);
    await until('its process has ended', () => fake.alive().length === 1);
    await drop();
  });

  test('one that hangs holds nobody up, and is ended by destroy', async () => {
    fake.mode = 'hangs';
    const before = fake.runs().length;
    const waiting = get(8084);
    await until('it runs', () => fake.runs().length > before);
    fake.mode = 'good';
    assert.match((await getAfterPause()).url, URL_FORM);
    assert.equal((await drop(8084)).status, 204);
    const answer = await waiting;
    assert.equal(answer.status, 502);
    assert.match(answer.json.error, /destroyed before it was there/);
    await until('it has ended', () => fake.alive().length === 1);
  });

  test('a client that goes away leaves what it has begun to the next one', async () => {
    await drop();
    const request = api.open('POST', '/v1/sandbox/app/tunnel/8080', { agent: false });
    const before = fake.runs().length;
    request.end();
    await until('it runs', () => fake.runs().length > before);
    request.destroy();
    const made = await getAfterPause();
    assert.equal((await fake.visit(made.url)).status, 200);
    assert.equal(fake.runs().length, before + 1);
  });

  test('one that ignores SIGTERM, and what it has started, are killed', async () => {
    await drop();
    fake.mode = 'stubborn';
    const made = await getAfterPause();
    const run = fake.alive().find(({ label }) => made.url.includes(label));
    const child = Number(fs.readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8').trim());
    await drop();
    await until('both are gone', () => !isAlive(run.pid) && !isAlive(child));
  });

  test('a sandbox has a few starting at once, and no more', async () => {
    fake.mode = 'hangs';
    const waiting = [8090, 8091, 8092, 8093].map((port) => get(port));
    await until('they run', () => fake.alive().length === 4);
    assert.match((await get(8094)).json.error, /too many/);
    for (const port of [8090, 8091, 8092, 8093]) await drop(port);
    for (const answer of await Promise.all(waiting)) assert.equal(answer.status, 502);
    await until('all are gone', () => fake.alive().length === 0);
  });

  test('the end of the sandbox ends its tunnels', async () => {
    await api.put('/v1/sandbox/other', {});
    const made = await getAfterPause(8080, 'other');
    const run = fake.alive().find(({ label }) => made.url.includes(label));
    await api.delete('/v1/sandbox/other');
    await until('it has ended', () => !isAlive(run.pid));
  });

  test('over RPC the SDK gets that URL, hears of its end, and is told when there is no cloudflared', async () => {
    const sdk = await Sdk.open(() => ({ origin: `http://127.0.0.1:${daemon.port}`, prefix: '/v1/sandbox/app/container' }), { transport: 'rpc' });
    await sdk.sandbox.execStream('sleep 1000'); /* holds the connection, on which ends are told */
    try {
      const made = await sdk.sandbox.tunnels.get(8085);
      assert.match(made.url, URL_FORM);
      assert.deepEqual(await sdk.sandbox.tunnels.get(8085), made);
      process.kill(fake.alive().find(({ label }) => made.url.includes(label)).pid, 'SIGKILL');
      await until('list drops it', async () => (await sdk.sandbox.tunnels.list()).length === 0);
      fs.unlinkSync(fake.program);
      await until('the pause is over', async () => /no program/.test((await get(8086)).json.error));
      await assert.rejects(sdk.sandbox.tunnels.get(8085), { code: 'CLOUDFLARED_NOT_FOUND' });
    } finally {
      fake.install();
      await sdk.close();
    }
  });

  test('the daemon takes them along when it ends, also when it is killed', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const made = await getAfterPause();
      const pids = fake.alive().map(({ pid }) => pid);
      assert.equal(pids.length, 1);
      await daemon.end(signal);
      await until('they have ended', () => !pids.some(isAlive));
      await daemon.start();
      api.close();
      api = new Api(daemon);
      assert.deepEqual(await list(), []);
      assert.notEqual((await getAfterPause()).url, made.url);
    }
  });
});

describe('all names through one cloudflared with a token', { skip }, () => {
  const TOKEN = 'eyJhIjoic2VjcmV0LXRva2VuLW9mLWEtdHVubmVsIn0';
  let daemon, api, fake;
  const state = async () => (await api.get('/v1/link')).json.state;

  before(async () => {
    daemon = new Daemon();
    fake = new FakeCloudflared(daemon.top);
    fs.writeFileSync(`${daemon.top}/token`, `${TOKEN}\n`, { mode: 0o600 });
    daemon.options = ['--sandbox-image', 'base', '--edge-connector', 'cloudflared', '--edge-cloudflared', fake.program,
      '--edge-cloudflared-token', `${daemon.top}/token`, '--edge-url', 'https://sandbox.example.com'];
    await daemon.start();
    api = new Api(daemon);
    await until('it is up', async () => await state() === 'up');
    await serve(api, 'app', 8080);
  });
  after(async () => {
    api?.close();
    await daemon.stop();
  });

  test('named and quick tunnels and previews are names of the operator\'s domain', async () => {
    const named = (await api.post('/v1/sandbox/app/tunnel/8080', { name: 'web' })).json;
    assert.equal(named.url, 'https://web.sandbox.example.com');
    const quick = (await api.post('/v1/sandbox/app/tunnel/8081')).json;
    assert.match(quick.url, /^https:\/\/[a-z0-9]{26}\.sandbox\.example\.com$/);
    const preview = (await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url;
    const [run, ...others] = fake.alive();
    assert.deepEqual(others, []);
    for (const url of [named.url, preview]) assert.equal((await fake.visit(url, { run })).status, 200, url);
    assert.equal((await fake.visit('https://sandbox.example.com', { run, path: '/v1/sandbox' })).status, 404);
    assert.equal((await fake.visit('https://x.trycloudflare.com', { run })).status, 404);
  });

  test('the token is nowhere but in its environment', async () => {
    const [run] = fake.alive();
    assert.equal(run.env.TUNNEL_TOKEN, TOKEN);
    assert.ok(run.args.includes('run') && !run.args.join(' ').includes(TOKEN));
    assert.ok(!daemon.lines.join('\n').includes(TOKEN));
    assert.ok(!(await api.get('/v1/link')).text.includes(TOKEN));
  });

  test('it is started again when it ends, with the same names, and events tell of it', async () => {
    const request = api.open('GET', '/v1/events', { agent: false });
    request.end();
    const [stream] = await once(request, 'response');
    let text = '';
    stream.setEncoding('utf8').on('data', (piece) => { text += piece; });
    await until('it follows', () => text.length > 0);
    const [run] = fake.alive();
    process.kill(run.pid, 'SIGKILL');
    await until('it is down', async () => await state() === 'connecting');
    await until('it is up again', async () => await state() === 'up');
    const [again] = fake.alive();
    assert.notEqual(again.pid, run.pid);
    assert.equal((await fake.visit('https://web.sandbox.example.com', { run: again })).status, 200);
    await until('both are told', () => /"link_up"/.test(text));
    const events = text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)));
    assert.deepEqual(events.map(({ event, sandbox }) => [event, sandbox]), [['link_down', undefined], ['link_up', undefined]]);
    assert.match(events[0].detail, /^cloudflared exited/);
    stream.destroy();
  });

  test('berm-connector is started again when it is killed, as often as that is, and serves the same names', async () => {
    const { told, stop } = await follow(api);
    for (let i = 0; i < 3; i++) {
      const [run] = fake.alive(), worker = connectorWorker(daemon);
      process.kill(worker, 'SIGKILL');
      await until('it is down', async () => await state() === 'connecting');
      assert.match((await api.get('/v1/link')).json.error, /cloudflared exited/);
      await until('it is up again', async () => await state() === 'up');
      const [again, ...others] = fake.alive();
      assert.ok(again.pid !== run.pid && others.length === 0 && connectorWorker(daemon) !== worker);
      assert.equal((await fake.visit('https://web.sandbox.example.com', { run: again })).status, 200);
    }
    await until('all is told', () => told().length >= 6);
    assert.deepEqual(told().map(({ event }) => event), Array(3).fill(['link_down', 'link_up']).flat());
    stop();
  });

  test('while it is down names that are there stay, and new ones are refused', async () => {
    fake.mode = 'dies';
    process.kill(fake.alive()[0].pid, 'SIGKILL');
    await until('it is down', async () => await state() === 'connecting');
    assert.equal((await api.post('/v1/sandbox/app/tunnel/8080', { name: 'web' })).json.url, 'https://web.sandbox.example.com');
    const refused = await api.post('/v1/sandbox/app/tunnel/8087', { name: 'new' });
    assert.equal(refused.status, 502);
    assert.match(refused.json.error, /cloudflared is not connected/);
    fake.mode = 'good';
    await until('it is up again', async () => await state() === 'up', 120000);
  });
});

describe('the keeper of a cloudflared with a token', { skip }, () => {
  let daemon, api, fake;
  const all = () => kept(daemon.pid, 'berm-connector');
  const up = () => until('it is up', async () => (await api.get('/v1/link')).json.state === 'up', 60000);

  before(async () => {
    daemon = new Daemon();
    fake = new FakeCloudflared(daemon.top);
    fs.writeFileSync(`${daemon.top}/token`, 'eyJhIjoic2VjcmV0LXRva2VuLW9mLWEtdHVubmVsIn0\n', { mode: 0o600 });
    daemon.options = ['--sandbox-image', 'base', '--edge-connector', 'cloudflared', '--edge-cloudflared', fake.program,
      '--edge-cloudflared-token', `${daemon.top}/token`, '--edge-url', 'https://sandbox.example.com'];
    await daemon.start();
    api = new Api(daemon);
    await up();
    await serve(api, 'app', 8080);
    assert.equal((await api.post('/v1/sandbox/app/tunnel/8080', { name: 'web' })).json.url, 'https://web.sandbox.example.com');
  });
  after(async () => {
    api?.close();
    await daemon.stop();
  });

  test('has its spare replaced when that is killed, and nothing else happens', async () => {
    const before = await until('there is a spare', () => (all().spare ? all() : undefined));
    const [run] = fake.alive();
    process.kill(before.spare, 'SIGKILL');
    await until('there is another', () => ![undefined, before.spare].includes(all().spare));
    assert.deepEqual([all().keeper, all().worker, fake.alive()[0].pid], [before.keeper, before.worker, run.pid]);
  });

  test('has a successor when it is killed, which has one, and the names are the same', async () => {
    let { keeper, spare } = all();
    for (let i = 0; i < 2; i++) {
      const [run] = fake.alive();
      process.kill(keeper, 'SIGKILL');
      await until('what it kept is gone as well', () => !isAlive(run.pid), 60000);
      const again = await until('another one runs', () => fake.alive()[0], 60000);
      await up();
      assert.equal((await fake.visit('https://web.sandbox.example.com', { run: again })).status, 200);
      keeper = spare;
      spare = await until('it has a spare of its own', () => childrenOf(keeper).find((pid) => nameOf(pid) === 'keeper-spare'), 60000);
    }
  });
});
