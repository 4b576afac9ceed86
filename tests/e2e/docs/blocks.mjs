/* The fenced blocks of the documentation; docs.test.mjs says what is done with them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const build = path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build'));
export const files = ['README.md', ...fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md')).sort().map((name) => `docs/${name}`)];

/* [{line, needs, script, output}] */
export function blocksOf(file) {
  const blocks = [];
  let open;
  for (const [i, line] of fs.readFileSync(path.join(root, file), 'utf8').split('\n').entries()) {
    const fence = /^```(\S*)\s*(.*)$/.exec(line);
    if (!fence) {
      open?.lines.push(line);
      if (!open && line.trim() !== '') blocks.push({ language: 'prose' });
    } else if (open) {
      blocks.push(open);
      open = undefined;
    } else {
      open = { language: fence[1], needs: /^needs=(.+)$/.exec(fence[2])?.[1], line: i + 1, lines: [] };
    }
  }
  assert.equal(open, undefined, `${file}: a block is not closed`);
  return blocks.flatMap((block, i) => block.language !== 'sh' ? [] : [{
    line: block.line,
    needs: block.needs,
    script: block.lines.join('\n'),
    output: blocks[i + 1]?.language === 'text' ? blocks[i + 1].lines.join('\n') : undefined,
  }]);
}
