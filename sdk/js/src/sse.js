/* Server-sent events as they come, and back. */

/*
 * The events of a stream of bytes, each {event, data}; the lines of one event's data are joined with LF. Lines end in LF,
 * CRLF or CR; the last event counts without a blank line, too. Ending the iteration cancels the stream.
 */
export async function* readEvents(stream, signal) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  const abort = () => reader.cancel().catch(() => {});
  signal?.addEventListener('abort', abort);
  let rest = '';
  let event;
  let data = [];
  try {
    for (;;) {
      if (signal?.aborted) throw new Error('Operation was aborted');
      const { done, value } = await reader.read();
      rest += done ? `${decoder.decode()}\n\n` : decoder.decode(value, { stream: true });
      const lines = rest.split(/\r\n|\n|\r(?=[^\n])/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
        else if (line.startsWith('event:')) event = line.slice(6).trim();
        else if (line === '') {
          if (data.length) yield { event, data: data.join('\n') };
          event = undefined;
          data = [];
        }
      }
      if (done) break;
    }
    if (signal?.aborted) throw new Error('Operation was aborted');
  } finally {
    signal?.removeEventListener('abort', abort);
    reader.cancel().catch(() => {}); /* of one branch of a tee() it ends with the other: not to be waited for */
  }
}

/* The JSON documents of a stream; what is blank, `[DONE]` or no JSON is passed over. */
export async function* parseSSEStream(stream, signal) {
  for await (const { data } of readEvents(stream, signal)) {
    if (data === '[DONE]' || data.trim() === '') continue;
    let document;
    try {
      document = JSON.parse(data);
    } catch {
      continue;
    }
    yield document;
  }
}

export async function* responseToAsyncIterable(response, signal) {
  if (!response.ok) throw new Error(`Response not ok: ${response.status} ${response.statusText}`);
  if (!response.body) throw new Error('No response body');
  yield* parseSSEStream(response.body, signal);
}

export function asyncIterableToSSEStream(events, { signal, serialize = JSON.stringify } = {}) {
  const iterator = events[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      if (signal?.aborted) {
        controller.error(new Error('Operation was aborted'));
        return;
      }
      const { done, value } = await iterator.next();
      controller.enqueue(encoder.encode(done ? 'data: [DONE]\n\n' : `data: ${serialize(value)}\n\n`));
      if (done) controller.close();
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
