/* Lets a test call the SDK as a Worker does: POST /call {id, options, method, args, session}. */
import { getSandbox, parseSSEStream, proxyToSandbox } from '@cloudflare/sandbox';

export { ContainerProxy, Sandbox } from '@cloudflare/sandbox';

/* What has methods of its own goes over the wire as its data. */
const plain = (value) => (value && typeof value === 'object' && !Array.isArray(value)
  ? Object.fromEntries(Object.entries(value).filter(([, member]) => typeof member !== 'function'))
  : value);

async function events(stream, most) {
  const list = [];
  for await (const event of parseSSEStream(stream)) {
    list.push(event);
    if (list.length >= most) break;
  }
  return list;
}

async function call(sandbox, { method, args = [], session, events: most }) {
  const target = session ? await sandbox.getSession(session) : sandbox;
  const names = method.split('.'), last = names.pop(); /* "tunnels.get" */
  const result = await names.reduce((object, name) => object[name], target)[last](...args);
  if (result instanceof ReadableStream) return events(result, most ?? Infinity);
  return Array.isArray(result) ? result.map(plain) : plain(result);
}

/* What cannot be told in JSON: streams both ways, and things that go on beside each other. */
const scenarios = {
  /* The request's body into a file, and back. */
  async stream(sandbox, request) {
    await sandbox.writeFile('/tmp/streamed', request.body);
    const { content, size } = await sandbox.readFile('/tmp/streamed', { encoding: 'none' });
    return new Response(content, { headers: { 'x-size': String(size) } });
  },

  /* The events of a watch up to that of `last`, which is made while it is active. */
  async watch(sandbox) {
    await sandbox.mkdir('/workspace/watched', { recursive: true });
    const stream = await sandbox.watch('/workspace/watched', { include: ['*.txt'] });
    await sandbox.writeFile('/workspace/watched/no.log', '');
    await sandbox.exec('echo 1 >/workspace/watched/a.txt; mv /workspace/watched/a.txt /workspace/watched/last.txt');
    const seen = [];
    for await (const event of parseSSEStream(stream)) {
      seen.push(event);
      if (event.path?.endsWith('last.txt')) break;
    }
    return Response.json(seen);
  },

  /* An R2 binding as a directory: no credentials inside, s3fs talks to this Worker. */
  async bucket(sandbox, request, env) {
    await env.BUCKET.put('from-worker.txt', 'hello from R2');
    await sandbox.mountBucket('BUCKET', '/mnt/r2', {});
    const inside = await sandbox.exec('cat /mnt/r2/from-worker.txt; echo; echo -n written inside >/mnt/r2/from-sandbox.txt; ls /mnt/r2; mount | grep -c "type fuse.s3fs"');
    const object = await env.BUCKET.get('from-sandbox.txt');
    const written = await object?.text();
    await sandbox.unmountBucket('/mnt/r2');
    const after = await sandbox.exec('ls /mnt/r2 2>&1; env | grep -ciE "secret|access_key" || true');
    return Response.json({ inside: inside.stdout, written, after: after.stdout });
  },

  /* The objects of the bucket that is synchronised: {key: text}, after those of the request's body were put. */
  async synced(sandbox, request, env) {
    for (const [key, text] of Object.entries(await request.json())) await (text === null ? env.SYNCED.delete(key) : env.SYNCED.put(key, text));
    const { objects } = await env.SYNCED.list();
    return Response.json(Object.fromEntries(await Promise.all(objects.map(async ({ key }) => [key, await (await env.SYNCED.get(key)).text()]))));
  },

  /* What lies in the bucket of backups: {key: its text, or the size of what is none}. */
  async backups(sandbox, request, env) {
    const { objects } = await env.BACKUP_BUCKET.list();
    return Response.json(Object.fromEntries(await Promise.all(objects.map(async ({ key, size }) =>
      [key, key.endsWith('.json') ? await (await env.BACKUP_BUCKET.get(key)).json() : size]))));
  },
};

export default {
  async fetch(request, env) {
    const proxied = await proxyToSandbox(request, env);
    if (proxied) return proxied;
    const url = new URL(request.url);
    const id = url.searchParams.get('id');
    const options = { transport: url.searchParams.get('transport') ?? undefined };
    try {
      if (url.pathname === '/call') {
        const body = await request.json();
        return Response.json({ result: await call(getSandbox(env.Sandbox, body.id, body.options), body) ?? null });
      }
      if (url.pathname === '/fetch')
        return await getSandbox(env.Sandbox, id, options).containerFetch(new Request('http://container/path?q=1', { method: 'POST', body: 'ping' }), 8080);
      const scenario = Object.hasOwn(scenarios, url.pathname.slice(1)) && scenarios[url.pathname.slice(1)];
      if (scenario) return await scenario(getSandbox(env.Sandbox, id, options), request, env);
      if (url.pathname === '/terminal') return await getSandbox(env.Sandbox, id, options).terminal(request, { cols: 80, rows: 24 });
      if (url.pathname === '/ws') return await getSandbox(env.Sandbox, id, options).wsConnect(request, 8080);
    } catch (error) {
      return Response.json({ error: { name: error.name, code: error.code, message: error.message } }, { status: 500 });
    }
    return new Response('berm-test', { status: 404 });
  },
};
