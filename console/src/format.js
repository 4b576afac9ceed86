/* Numbers and times as people read them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(n) {
  if (n === null || n === undefined) return '–';
  let unit = 0;
  for (; n >= 1024 && unit < UNITS.length - 1; unit++) n /= 1024;
  return `${n < 10 && unit > 0 ? n.toFixed(1) : Math.round(n)} ${UNITS[unit]}`;
}

export const rate = (n) => (n === null || n === undefined ? '–' : `${bytes(n)}/s`);
export const percent = (n) => (n === null || n === undefined ? '–' : `${n < 9.95 ? n.toFixed(1) : Math.round(n)} %`);

const STEPS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

/* "3 h" since a time stamp. */
export function age(stamp, now = Date.now()) {
  if (!stamp) return '–';
  const seconds = Math.max(0, Math.round((now - Date.parse(stamp)) / 1000));
  const [unit, size] = STEPS.find(([, each]) => seconds >= each) ?? STEPS[3];
  return `${Math.floor(seconds / size)} ${unit}`;
}

export const time = (stamp) => (stamp ? new Date(stamp).toLocaleString() : '–');
export const clock = (stamp) => (stamp ? new Date(stamp).toLocaleTimeString() : '–');

/* Control sequences of terminals, which have no meaning outside of one. */
// eslint-disable-next-line no-control-regex
export const plain = (text) => text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/g, '');
