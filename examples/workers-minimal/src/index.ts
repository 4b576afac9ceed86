// A Worker that runs code which it does not trust, each caller's in a sandbox of its own.
import { getSandbox, proxyToSandbox, type Sandbox } from '@cloudflare/sandbox';

export { Sandbox } from '@cloudflare/sandbox';

interface Env {
  Sandbox: DurableObjectNamespace<Sandbox>;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    // Preview URLs (https://8080-<sandbox>-<token>.<host>) lead to ports inside.
    const preview = await proxyToSandbox(request, env);
    if (preview) return preview;

    const url = new URL(request.url);
    const sandbox = getSandbox(env.Sandbox, url.searchParams.get('sandbox') ?? 'demo');

    switch (url.pathname) {
      case '/run': {
        const { stdout, exitCode } = await sandbox.exec(`python3 -c 'print(sum(range(101)))'`);
        return Response.json({ output: stdout, exitCode });
      }
      case '/file': {
        await sandbox.writeFile('/workspace/greeting.txt', `Hello from ${url.host}\n`);
        const file = await sandbox.readFile('/workspace/greeting.txt');
        return new Response(file.content);
      }
      case '/reset':
        await sandbox.destroy();
        return new Response('gone\n');
      default:
        return new Response('Try /run, /file or /reset\n', { status: 404 });
    }
  },
};
