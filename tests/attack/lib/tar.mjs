/* A tar archive in memory, entry by entry, so that it can hold what no honest tool would write. */
const TYPES = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', directory: '5', fifo: '6' };

function header(entry, size) {
  const block = Buffer.alloc(512);
  const octal = (value, offset, width) => block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, offset, 'latin1');
  if (Buffer.byteLength(entry.path) > 100 || Buffer.byteLength(entry.target ?? '') > 100) throw new Error(`too long: ${entry.path}`);
  block.write(entry.path, 0);
  octal(entry.mode ?? 0o755, 100, 8);
  octal(entry.uid ?? 0, 108, 8);
  octal(entry.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write(' '.repeat(8), 148);
  block.write(TYPES[entry.type], 156);
  block.write(entry.target ?? '', 157);
  block.write('ustar\x0000', 257);
  octal(entry.major ?? 0, 329, 8);
  octal(entry.minor ?? 0, 337, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/* Entries are {type, path, content?, target?, mode?, uid?, gid?, major?, minor?}. */
export function tar(entries) {
  const blocks = [];
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? '');
    blocks.push(header(entry, content.length), content, Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
