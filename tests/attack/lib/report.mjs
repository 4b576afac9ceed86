/* The table of results, printed at the end and written where BERM_ATTACK_REPORT says. */
import fs from 'node:fs';

const rows = [];

export function add(row) {
  rows.push({ result: 'refused', ...row });
}

function line({ id, result, items, proven, layers }) {
  const share = items === undefined ? '' : `${items} tried` + (proven === undefined ? '' : `, ${proven} proven outside`);
  return `${id.padEnd(26)} ${result.padEnd(9)} ${share.padEnd(32)} ${(layers ?? []).join('; ')}`;
}

/* "a: reason", "b: reason" become "a, b: reason"; long lists become a count. */
function groupByReason(notes) {
  const groups = new Map();
  for (const note of notes) {
    const at = note.lastIndexOf(': ');
    const [name, reason] = at < 0 ? ['', note] : [note.slice(0, at), note.slice(at + 2)];
    groups.set(reason, [...(groups.get(reason) ?? []), name]);
  }
  const named = ([reason, names]) => {
    const list = names.length > 12 ? `${names.length} items` : names.filter(Boolean).join(', ');
    return list ? `${list}: ${reason}` : reason;
  };
  return [...groups].map(named).join('; ');
}

export function print() {
  if (rows.length === 0) return;
  const notes = rows.filter((row) => row.unproven?.length).map((row) => `${row.id}: ${groupByReason(row.unproven)}`);
  const text = ['', 'id                         result    items                            stopped by', ...rows.map(line), '',
    'not proven outside:', ...notes.map((note) => `  ${note}`), ''].join('\n');
  console.log(text);
  if (process.env.BERM_ATTACK_REPORT) fs.writeFileSync(process.env.BERM_ATTACK_REPORT, text);
}
