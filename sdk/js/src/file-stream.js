/* What readFileStream() sends, put together again. */
import { parseSSEStream } from './sse.js';

export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/* Yields strings of a text and Uint8Arrays of anything else; returns the metadata. */
export async function* streamFile(stream) {
  let metadata;
  for await (const event of parseSSEStream(stream)) {
    if (event.type === 'metadata') {
      const { mimeType, size, isBinary, encoding } = event;
      metadata = { mimeType, size, isBinary, encoding };
    } else if (event.type === 'chunk') {
      if (!metadata) throw new Error('Received chunk before metadata');
      yield metadata.encoding === 'base64' ? bytesOf(event.data) : event.data;
    } else if (event.type === 'complete') {
      if (!metadata) throw new Error('Stream completed without metadata');
      return metadata;
    } else if (event.type === 'error') {
      throw new Error(`File streaming error: ${event.error}`);
    }
  }
  throw new Error('Stream ended unexpectedly');
}

/* {content, metadata}: a string of a text, a Uint8Array of anything else. */
export async function collectFile(stream) {
  const pieces = [];
  const chunks = streamFile(stream);
  let step = await chunks.next();
  for (; !step.done; step = await chunks.next()) pieces.push(step.value);
  const metadata = step.value;
  if (metadata.encoding !== 'base64') return { content: pieces.join(''), metadata };
  const content = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    content.set(piece, offset);
    offset += piece.length;
  }
  return { content, metadata };
}
