/*
 * Lets code that nobody has read compute and draw something, with no network and little memory, and keeps the picture.
 *
 *   npm install ../../sdk/js && node chart.mjs [FILE]
 */
import fs from 'node:fs/promises';
import { getSandbox } from 'berm-sandbox';

const code = `
import matplotlib.pyplot as plt
rows = [(2021, 3), (2022, 5), (2023, 9)]
plt.bar([year for year, _ in rows], [count for _, count in rows])
plt.show()
{"rows": len(rows), "most": max(count for _, count in rows)}
`;

const sandbox = getSandbox('chart-example', { limits: { memoryBytes: 768 * 2 ** 20, pids: 64 }, egress: { mode: 'deny' } });
try {
  const { results, error } = await sandbox.runCode(code, { timeout: 60000 });
  if (error) throw new Error(`${error.name}: ${error.message}`);
  for (const result of results) {
    if (result.png) await fs.writeFile(process.argv[2] ?? 'chart.png', Buffer.from(result.png, 'base64'));
    if (result.json) console.log(result.json);
  }
} finally {
  await sandbox.destroy();
}
