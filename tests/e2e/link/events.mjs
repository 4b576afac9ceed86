/* What a daemon tells of itself on GET /v1/events. */
import { once } from 'node:events';

import { until } from '../lib/daemon.mjs';

export async function follow(api) {
  const request = api.open('GET', '/v1/events', { agent: false });
  request.end();
  const [stream] = await once(request, 'response');
  let text = '';
  stream.setEncoding('utf8').on('data', (piece) => { text += piece; }).on('error', () => {});
  await until('it follows', () => text.length > 0);
  return {
    told: () => text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6))),
    stop: () => stream.destroy(),
  };
}
