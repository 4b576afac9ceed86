// The module `cloudflare:workers`, as far as the SDK uses it.
export { RpcTarget } from 'capnweb';

export class DurableObject {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

export class WorkerEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

export const env = {};
export const tracing = undefined;
