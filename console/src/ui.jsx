/* The parts that pages are made of. */
import { useCallback, useEffect, useId, useRef, useState } from 'preact/hooks';

/* --- icons: strokes on a grid of 16 --- */

const SHAPES = {
  back: 'M10 3 5 8l5 5',
  box: 'M2.5 5 8 2l5.5 3v6L8 14l-5.5-3zM2.5 5 8 8l5.5-3M8 8v6',
  close: 'M4 4l8 8M12 4l-8 8',
  download: 'M8 2v8M4.5 7 8 10.5 11.5 7M3 13.5h10',
  file: 'M4 1.5h5L12 5v9.5H4zM9 1.5V5h3',
  folder: 'M2 4h4l1.5 1.5H14v7.5H2z',
  link: 'M9 3h4v4M13 3 7.5 8.5M11 9.5V13H3V5h3.5',
  moon: 'M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z',
  out: 'M6.5 2.5H3v11h3.5M10 5l3 3-3 3M13 8H6.5',
  play: 'M5 3v10l8-5z',
  plus: 'M8 3v10M3 8h10',
  refresh: 'M13 8a5 5 0 1 1-1.5-3.5M13 2v3h-3',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5 14 14',
  stop: 'M4 4h8v8H4z',
  sun: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  trash: 'M3 4h10M6 4V2.5h4V4M4.5 4l.5 9.5h6l.5-9.5',
  upload: 'M8 10.5v-8M4.5 6 8 2.5 11.5 6M3 13.5h10',
};

export const Icon = ({ name }) => (
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d={SHAPES[name]} /></svg>
);

export const Logo = () => (
  <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M5 23c4 0 5-9 11-9s7 9 11 9" />
  </svg>
);

/* --- small things --- */

export function Button({ icon, label, children, kind = '', ...rest }) {
  return (
    <button type="button" class={`button ${kind} ${children ? '' : 'only-icon'}`} aria-label={label} title={label} {...rest}>
      {icon && <Icon name={icon} />}{children}
    </button>
  );
}

export const State = ({ state }) => <span class={`state ${state}`}>{state}</span>;

export const Labels = ({ labels }) => Object.entries(labels ?? {}).map(([name, value]) => (
  <span class="label" key={name}>{value ? `${name}=${value}` : name}</span>
));

export const Problem = ({ error }) => (error ? <p class="problem" role="alert">{error.message ?? String(error)}</p> : null);

export const Empty = ({ children }) => <p class="empty">{children}</p>;

/* --- plots --- */

/* A line with its area over the last samples; null is a gap at the beginning. `top`: what fills the height. */
export function Plot({ values, top, label }) {
  const room = Math.max(20, values.length);
  const known = values.filter((value) => value !== null && value !== undefined);
  const height = Math.max(top ?? 0, top === undefined ? Math.max(1e-9, ...known) * 1.15 : 1e-9);
  const from = room - values.length;
  const points = values
    .map((value, i) => (value === null || value === undefined ? null : `${from + i},${(30 - 29 * Math.min(1, value / height)).toFixed(1)}`))
    .filter(Boolean);
  const first = points[0]?.split(',')[0];
  return (
    <svg class="plot" viewBox={`0 0 ${room - 1} 31`} preserveAspectRatio="none" role="img" aria-label={label}>
      {points.length > 1 && <path class="area" d={`M${first},31L${points.join('L')}L${room - 1},31Z`} />}
      {points.length > 1 && <path class="line" d={`M${points.join('L')}`} />}
    </svg>
  );
}

/* --- dialogs --- */

export function Dialog({ title, onClose, children }) {
  const ref = useRef();
  const id = useId();
  useEffect(() => {
    ref.current.showModal();
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onClose={onClose} onClick={(event) => event.target === ref.current && ref.current.close()}>
      <div class="dialog">
        <header><h2 id={id}>{title}</h2><Button icon="close" label="Close" kind="quiet" onClick={() => ref.current.close()} /></header>
        {children}
      </div>
    </dialog>
  );
}

/* Asks before `action`, which may fail. */
export function Confirm({ title, text, verb, action, onClose }) {
  const [run, busy, error] = useAction(async () => {
    await action();
    onClose();
  });
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{text}</p>
      <Problem error={error} />
      <footer>
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="danger" disabled={busy} onClick={run}>{verb}</Button>
      </footer>
    </Dialog>
  );
}

/* --- tabs --- */

export function Tabs({ tabs, current, onSelect, label }) {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex(([name]) => name === current);
    const [next] = tabs[(at + step + tabs.length) % tabs.length];
    onSelect(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map(([name, text]) => (
        <button type="button" role="tab" key={name} id={`tab-${name}`} aria-controls={`panel-${name}`}
          aria-selected={name === current} tabIndex={name === current ? 0 : -1} onClick={() => onSelect(name)}>{text}</button>
      ))}
    </div>
  );
}

/* --- hooks --- */

/* [run, busy, error] of something asynchronous that a person starts. */
export function useAction(action) {
  const [state, set] = useState({ busy: false, error: null });
  const latest = useRef();
  latest.current = action;
  const run = useCallback(async (...args) => {
    set({ busy: true, error: null });
    try {
      await latest.current(...args);
      set({ busy: false, error: null });
    } catch (error) {
      set({ busy: false, error });
    }
  }, []);
  return [run, state.busy, state.error];
}

/*
 * Calls `poll(signal)` now and `ms` after each end, while the page is seen. Returns [value, error, again]; a failed
 * poll keeps the last value.
 */
export function usePoll(poll, ms, dependencies) {
  const [state, set] = useState({ value: null, error: null });
  const again = useRef(() => {});
  useEffect(() => {
    let timer;
    let running = false;
    let ended = false;
    const abort = new AbortController();
    async function turn() {
      clearTimeout(timer);
      if (running || ended || document.hidden) return;
      running = true;
      try {
        const value = await poll(abort.signal);
        if (!ended) set({ value, error: null });
      } catch (error) {
        if (!ended) set((old) => ({ value: old.value, error }));
      }
      running = false;
      if (!ended && ms) timer = setTimeout(turn, ms);
    }
    again.current = turn;
    set({ value: null, error: null });
    turn();
    document.addEventListener('visibilitychange', turn);
    return () => {
      ended = true;
      clearTimeout(timer);
      abort.abort();
      document.removeEventListener('visibilitychange', turn);
    };
  }, dependencies);
  return [state.value, state.error, () => again.current()];
}
