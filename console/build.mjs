/*
 * Bundles the console and writes what bermd is built with: node build.mjs OUT_DIR
 *   console_assets.bin   the files, plain and compressed, one after the other
 *   console_assets.S     that as one symbol
 *   console_assets.h     the table of src/daemon/console/assets.h
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import esbuild from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(process.argv[2]);

const PREFIX = 'console/';
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
};

const hash = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

function bundle() {
  const result = esbuild.buildSync({
    absWorkingDir: here,
    entryPoints: { app: 'src/main.jsx', frame: 'src/frame.css' },
    bundle: true,
    splitting: true,
    format: 'esm',
    target: ['chrome123', 'firefox121', 'safari17.5'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'none',
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    outdir: '/console',
    write: false,
    logLevel: 'warning',
  });
  return result.outputFiles.map((file) => ({ name: path.basename(file.path), bytes: Buffer.from(file.contents) }));
}

/* What is bundled is under licences that ask for their text to go along. */
function licences() {
  const packages = ['preact', '@xterm/xterm', '@xterm/addon-fit'];
  const texts = packages.map((name) => `${name}\n\n${fs.readFileSync(path.join(here, 'node_modules', name, 'LICENSE'), 'utf8')}`);
  return { name: 'licences.txt', bytes: Buffer.from(texts.join('\n\n')) };
}

function page(files) {
  const named = (start, end) => PREFIX + files.find((file) => file.name.startsWith(start) && file.name.endsWith(end)).name;
  const html = fs.readFileSync(path.join(here, 'index.html'), 'utf8')
    .replace('APP_CSS', named('app-', '.css')).replace('APP_JS', named('app-', '.js')).replace('FRAME_CSS', named('frame-', '.css'));
  return { name: '', bytes: Buffer.from(html) };
}

const bundled = bundle();
const files = [page(bundled), ...bundled, licences()];
const pieces = [];
let offset = 0;

function place(bytes) {
  const text = `{ console_bytes + ${offset}, ${bytes.length} }`;
  pieces.push(bytes);
  offset += bytes.length;
  return text;
}

const rows = files.map(({ name, bytes }) => {
  const etag = hash(bytes);
  return `    { "${name}", "${TYPES[path.extname(name) || '.html']}", "\\"${etag}\\"", "\\"${etag}-gzip\\"",\n` +
    `      ${place(bytes)}, ${place(gzipSync(bytes, { level: 9 }))} },\n`;
});

fs.mkdirSync(out, { recursive: true });
fs.writeFileSync(path.join(out, 'console_assets.bin'), Buffer.concat(pieces));
fs.writeFileSync(path.join(out, 'console_assets.S'),
  `.section .rodata\n.global console_bytes\nconsole_bytes:\n.incbin "${path.join(out, 'console_assets.bin')}"\n` +
  '.section .note.GNU-stack,"",%progbits\n');
fs.writeFileSync(path.join(out, 'console_assets.h'),
  '/* Made by console/build.mjs. */\n#pragma once\n\nextern const char console_bytes[];\n\n' +
  `static const struct console_asset console_assets[] = {\n${rows.join('')}};\n`);
