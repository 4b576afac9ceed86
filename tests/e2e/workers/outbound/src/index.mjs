/* A Sandbox whose outgoing HTTP and HTTPS is handled by the Worker; a test calls its methods: POST /call {id, method, args}. */
import { Sandbox as Published, getSandbox } from '@cloudflare/sandbox';

export { ContainerProxy } from '@cloudflare/sandbox';

/* What a handler was asked, as it saw it. */
async function tell(by, request, params) {
  const { method, url, headers } = request;
  const body = await request.text();
  return Response.json({ by, method, url, size: body.length, agent: headers.get('user-agent'), params });
}

export class Sandbox extends Published {
  interceptHttps = true;
  enableInternet = false;
}

Sandbox.outboundByHost = { 'api.internal': (request) => tell('host', request) };
Sandbox.outboundHandlers = {
  named: (request, env, { params }) => tell('name', request, params),
  large: () => new Response('x'.repeat(5_000_000)),
};

export default {
  async fetch(request, env) {
    const { id, method, args = [] } = await request.json();
    try {
      const result = await getSandbox(env.Sandbox, id)[method](...args);
      return Response.json({ result: result ?? null });
    } catch (error) {
      return Response.json({ error: { name: error.name, message: error.message } }, { status: 500 });
    }
  },
};
