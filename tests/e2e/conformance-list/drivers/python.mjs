/* The list by the Python SDK: `kind` is asyncio or blocking. */
import { fileURLToPath } from 'node:url';

import { opNames } from '../list.mjs';
import { program } from './lines.mjs';

export function python(url, kind) {
  const script = fileURLToPath(new URL('python.py', import.meta.url));
  const driver = program('python3', [script, kind, url], opNames, { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  return { name: `Python (${kind})`, absent: {}, ...driver };
}
