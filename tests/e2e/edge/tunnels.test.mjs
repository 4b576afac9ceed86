/* tunnels.get() of the published SDK: the daemon is the edge, and what else code in a sandbox may ask it for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, describe } from 'node:test';

import { newWebSocketRpcSession, RpcTarget } from 'capnweb';
import { WebSocket } from 'ws';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, hasImage, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { Sdk } from '../sdk/lib/sandbox.mjs';

const DESK = 'http://192.0.0.8';

describe('tunnels over RPC', { skip: whyNoDaemon() ?? (hasImage('base') ? undefined : 'no image base') }, () => {
  let daemon, api, id, sdk;

  async function visit(url) {
    const { host, pathname } = new URL(url);
    const request = http.request({ host: '127.0.0.1', port: daemon.port, path: pathname, agent: false, headers: { host } });
    request.end();
    return collect((await once(request, 'response'))[0]);
  }

  /* Answers with its port. */
  async function serve(port) {
    await api.exec(id, `nohup python3 -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"port ${port}")
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", ${port}), H).serve_forever()' >/dev/null 2>&1 &`);
    await until('it listens', async () => (await api.exec(id, `curl -s http://127.0.0.1:${port}/`)).out === `port ${port}`);
  }

  /* A daemon that is started again has another port. */
  const open = (of = id) => Sdk.open(() => ({ origin: `http://127.0.0.1:${daemon.port}`, prefix: `/v1/sandbox/${of}/container` }), { transport: 'rpc' });
  /*
   * Holds the connection, on which ends are told. (Without one the stand-in for the runtime would start the container anew for
   * the next call, and the SDK forget its tunnels.)
   */
  const hold = () => sdk.sandbox.execStream('sleep 1000');
  const tunnels = async (of = id) => (await api.get(`/v1/sandbox/${of}/tunnels`)).json.tunnels;
  /* What the desk answers to code in the sandbox: "status body". */
  const desk = async (method, path, body, of = id) =>
    (await api.exec(of, `curl -s --max-time 100 -X ${method} ${body === undefined ? '' : `-d '${body}'`} -w ' %{http_code}' ${DESK}${path}`)).out;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    id = await api.newId();
    await serve(8080);
    sdk = await open();
    await hold();
  });
  after(async () => {
    await sdk?.close();
    api?.close();
    await daemon.stop();
  });

  test('get gives a URL that works, the same one again, and the daemon lists it by the SDK\'s id', async () => {
    const [first, again] = await Promise.all([sdk.sandbox.tunnels.get(8080), sdk.sandbox.tunnels.get(8080)]);
    assert.match(first.id, /^quick-[0-9a-z]{20}$/);
    assert.match(first.url, new RegExp(`^http://[a-z][a-z0-9]{25}\\.localhost:${daemon.port}$`));
    assert.equal(first.hostname, new URL(first.url).hostname);
    assert.equal(first.port, 8080);
    assert.deepEqual(again, first);
    assert.deepEqual(await sdk.sandbox.tunnels.get(8080), first);
    assert.deepEqual(await sdk.sandbox.tunnels.list(), [first]);
    assert.equal((await visit(`${first.url}/`)).text, 'port 8080');
    const [row, ...others] = await tunnels();
    assert.deepEqual([row.id, row.url, others.length], [first.id, first.url, 0]);
  });

  test('two ports have tunnels of their own; destroy ends one, and get then gives a new one', async () => {
    await serve(8081);
    const first = await sdk.sandbox.tunnels.get(8080), second = await sdk.sandbox.tunnels.get(8081);
    assert.ok(first.url !== second.url && first.id !== second.id);
    assert.equal((await visit(second.url)).text, 'port 8081');
    await sdk.sandbox.tunnels.destroy(8081);
    await sdk.sandbox.tunnels.destroy(8081);
    assert.deepEqual(await sdk.sandbox.tunnels.list(), [first]);
    assert.equal((await visit(second.url)).status, 404);
    const third = await sdk.sandbox.tunnels.get(8081);
    assert.ok(third.url !== second.url && third.id !== second.id);
    assert.equal((await visit(third.url)).text, 'port 8081');
    await sdk.sandbox.tunnels.destroy(third);
    await sdk.sandbox.tunnels.get(8081).then(({ port }) => sdk.sandbox.tunnels.destroy(port));
    assert.deepEqual((await tunnels()).map((t) => t.port), [8080]);
  });

  test('get and destroy of one port happen in their order', async () => {
    const [made] = await Promise.all([sdk.sandbox.tunnels.get(8090), sdk.sandbox.tunnels.destroy(8090)]);
    assert.deepEqual((await sdk.sandbox.tunnels.list()).map((t) => t.port), [8080]);
    assert.equal((await visit(made.url)).status, 404);
  });

  test('bad ports and changed options are refused before any work', async () => {
    for (const port of [80, 3000, 65536, 1.5]) await assert.rejects(sdk.sandbox.tunnels.get(port), /Invalid port number/);
    await assert.rejects(sdk.sandbox.tunnels.get(8080, { name: 'app' }), /different options/);
  });

  test('a port whose tunnel is somebody else\'s is a conflict, told as one', async () => {
    const other = (await api.post(`/v1/sandbox/${id}/tunnel/8095`)).json;
    await assert.rejects(sdk.sandbox.tunnels.get(8095), { code: 'TUNNEL_RUN_CONFLICT' });
    assert.deepEqual(await desk('DELETE', `/tunnels/${other.id}`), ' 204');
    await sdk.sandbox.tunnels.get(8095);
    await sdk.sandbox.tunnels.destroy(8095);
  });

  test('what ends a tunnel from outside is told to the SDK', async () => {
    const made = await sdk.sandbox.tunnels.get(8096);
    assert.equal((await api.delete(`/v1/sandbox/${id}/tunnel/8096`)).status, 204);
    await until('list drops it', async () => !(await sdk.sandbox.tunnels.list()).some((t) => t.port === 8096));
    const again = await sdk.sandbox.tunnels.get(8096);
    assert.ok(again.id !== made.id && again.url !== made.url);
    await sdk.sandbox.tunnels.destroy(8096);
  });

  test('a tunnel outlives the daemon, and its end is heard by way of the next one', async () => {
    const exits = [];
    class Control extends RpcTarget {
      onTunnelExit(...args) { exits.push(args); }
    }
    const session = async () => {
      const ws = new WebSocket(`ws://127.0.0.1:${daemon.port}/v1/sandbox/${id}/container/rpc`, { perMessageDeflate: false });
      await once(ws, 'open');
      return { ws, tunnels: newWebSocketRpcSession(ws, new Control()).tunnels };
    };
    const run = { tunnelId: 'quick-1', runId: 'run-1', mode: 'quick', port: 8080 };
    await sdk.sandbox.tunnels.destroy(8080);
    const made = await (await session()).tunnels.ensureTunnelRun(run);
    assert.equal(made.started, true);
    await daemon.end('SIGKILL');
    await daemon.start();
    api.close();
    api = new Api(daemon);
    assert.equal((await visit(made.run.url)).text, 'port 8080');
    const again = await session();
    assert.deepEqual(await again.tunnels.ensureTunnelRun(run), { run: made.run, started: false });
    /* Within a second or so. */
    await until('the agent waits for its end again', async () => /[1-9]/.test((await api.exec(id, `grep -c '080000C0:0050 01' /proc/net/tcp; true`)).out));
    assert.equal((await api.delete(`/v1/sandbox/${id}/tunnel/8080`)).status, 204);
    await until('the exit is told', () => exits.length > 0);
    assert.deepEqual(exits, [['quick-1', 8080, null, 'run-1']]);
    assert.deepEqual(await again.tunnels.stopTunnelRun({ tunnelId: 'quick-1', runId: 'run-1' }), { stopped: false });
    again.ws.close();
    await sdk.close();
    sdk = await open();
    await hold();
  });

  test('code in a sandbox gets tunnels to its own ports and nothing else', async () => {
    const other = await api.newId();
    await api.exec(other, 'true');
    const foreign = (await api.post(`/v1/sandbox/${other}/tunnel/8080`)).json;
    const named = (await api.post(`/v1/sandbox/${id}/tunnel/8099`, { name: 'mine' })).json;
    for (const path of ['/', '/v1/sandboxes', '/tunnels', '/tunnels/', '/tunnels/wait', `/v1/sandbox/${other}`, '/metrics', '/tunnels/8080/x'])
      assert.match(await desk('GET', path), / 404$/, path);
    for (const port of ['80', '3000', '65536', '99999999999999999999', '-1'])
      assert.match(await desk('PUT', `/tunnels/${port}`, '{"id":"quick-x"}'), / 40[04]$/, port);
    for (const body of ['', '{', '[]', '{"id":5}', '{"id":""}', `{"id":"${'x'.repeat(32)}"}`, '{"id":"a b"}', `{"id":"x","pad":"${'x'.repeat(5000)}"}`])
      assert.match(await desk('PUT', '/tunnels/8100', body), / 4(00|13)$/, body.slice(0, 40));
    assert.match(await desk('PUT', '/tunnels/8099', '{"id":"quick-y"}'), / 409$/);
    assert.equal(await desk('DELETE', `/tunnels/${foreign.id}`), ' 204');
    assert.equal(await desk('DELETE', `/tunnels/${named.id}`), ' 204');
    assert.deepEqual((await tunnels(other)).map((t) => t.id), [foreign.id]);
    assert.deepEqual((await tunnels()).map((t) => t.id), [named.id]);
    await api.delete(`/v1/sandbox/${id}/tunnel/8099`);
  });

  test('a flood of tunnels ends at their limit, one of requests at its rate, and both in their own sandbox', async () => {
    const flooder = await api.newId();
    const flood = `
import concurrent.futures, http.client, select
def flood(first):
    c = http.client.HTTPConnection("192.0.0.8", 80, timeout=100)
    for i in range(first, first + 100):
        c.request("PUT", "/tunnels/%d" % i, '{"id":"quick-%d"}' % i)
        r = c.getresponse(); r.read()
        yield r.status
    c.close()
with concurrent.futures.ThreadPoolExecutor(4) as many: # faster than the rate also where each request takes its time
    seen = sum(many.map(lambda first: list(flood(first)), [2000, 2100, 2200, 2300]), [])
print(seen.count(200), 409 in seen, 429 in seen)
held = [http.client.HTTPConnection("192.0.0.8", 80, timeout=100) for _ in range(20)]
for h in held:
    try: h.request("POST", "/tunnels/wait", '{"ids":["quick-1"]}')
    except OSError: h.close()
open = [h.sock for h in held if h.sock]
while len(open) > 8: # those above the limit are answered or closed
    ready = select.select(open, [], [], 100)[0]
    if not ready: break
    for s in ready: open.remove(s)
print(len(open) < 9)
`;
    await api.put(`/v1/sandbox/${flooder}/file/workspace/flood.py`, flood);
    const [counts, bounded] = (await api.exec(flooder, 'python3 flood.py')).out.trim().split('\n');
    assert.deepEqual([counts, bounded], ['64 True True', 'True']);
    assert.equal((await tunnels(flooder)).length, 64);
    await sdk.sandbox.tunnels.get(8080);
  });

  test('the operator may want cloudflared for it, or nobody', async () => {
    await sdk.close();
    await daemon.end();
    await daemon.start(['--edge-tunnels', 'cloudflared']);
    api.close();
    api = new Api(daemon);
    sdk = await open();
    await assert.rejects(sdk.sandbox.tunnels.get(8110), (error) => {
      assert.deepEqual([error.code, error.context.binary], ['CLOUDFLARED_NOT_FOUND', 'cloudflared']);
      return true;
    });
    await sdk.close();
    await daemon.end();
    await daemon.start(['--edge-tunnels', 'off']);
    api.close();
    api = new Api(daemon);
    sdk = await open();
    await assert.rejects(sdk.sandbox.tunnels.get(8110), { code: 'TUNNEL_START_ERROR', message: /turned tunnels off/ });
    const refused = await api.post(`/v1/sandbox/${id}/tunnel/8110`);
    assert.deepEqual([refused.status, refused.json.code], [502, 'tunnel_error']);
  });

  test('a sandbox without a network says so', async () => {
    const lonely = await api.newId();
    await api.put(`/v1/sandbox/${lonely}`, { network: 'none' });
    const alone = await open(lonely);
    await assert.rejects(alone.sandbox.tunnels.get(8080), { code: 'TUNNEL_START_ERROR', message: /no network/ });
    await alone.close();
  });
});
