/* The published client, with and without a default session, at an agent of its own. */
import { Agent } from '../../agent/helper.mjs';
import { Sdk, sdk as published } from './sandbox.mjs';

export async function eventsOf(stream) {
  const events = [];
  for await (const event of published.parseSSEStream(stream)) events.push(event);
  return events;
}

export class Clients {
  // `env`: of the agent, beside the version that the client asks for.
  static async open(transport, env = {}) {
    const clients = new Clients();
    clients.agent = await Agent.start({ env: { SANDBOX_VERSION: '0.12.10', ...env } });
    clients.target = { origin: `http://127.0.0.1:${clients.agent.port}` };
    clients.sdk = await Sdk.open(clients.target, { transport });
    clients.sandbox = clients.sdk.sandbox;
    clients.bare = await Sdk.open(clients.target, { transport, name: 'bare', enableDefaultSession: false });
    return clients;
  }

  async close() {
    await this.bare.close();
    await this.sdk.close();
    await this.agent.stop();
  }
}
