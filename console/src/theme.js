/* Dark or light: what the system says, until somebody has chosen. */
const KEY = 'berm-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set();

export const theme = () => document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light');

function tell() {
  for (const listener of listeners) listener(theme());
}

/* Returns what ends it. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function toggleTheme() {
  const next = theme() === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  localStorage.setItem(KEY, next);
  tell();
}

const chosen = localStorage.getItem(KEY);
if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
dark.addEventListener('change', tell);
