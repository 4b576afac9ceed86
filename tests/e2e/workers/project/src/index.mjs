/* Lets a test call the SDK as a Worker does: POST /call {id, options, method, args, session}. */
import { getSandbox, parseSSEStream, proxyToSandbox } from '@cloudflare/sandbox';

export { Sandbox } from '@cloudflare/sandbox';

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
  const result = await target[method](...args);
  if (result instanceof ReadableStream) return events(result, most ?? Infinity);
  return Array.isArray(result) ? result.map(plain) : plain(result);
}

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
      if (url.pathname === '/terminal') return await getSandbox(env.Sandbox, id, options).terminal(request, { cols: 80, rows: 24 });
      if (url.pathname === '/ws') return await getSandbox(env.Sandbox, id, options).wsConnect(request, 8080);
    } catch (error) {
      return Response.json({ error: { name: error.name, code: error.code, message: error.message } }, { status: 500 });
    }
    return new Response('berm-test', { status: 404 });
  },
};
