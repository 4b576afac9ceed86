/*
 * All sandboxes. Only the rows that can be seen are in the page, and only for them is asked what they use: a thousand
 * sandboxes cost what twenty do.
 */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import * as api from './api.js';
import * as format from './format.js';
import { Button, Confirm, Dialog, Empty, Icon, Labels, Plot, Problem, State, useAction, usePoll } from './ui.jsx';
import { usageOf } from './usage.js';

const LIST_MS = 10000; /* besides what events tell */
const EVENTS_MS = 200; /* that are waited for more of them */
const USAGE_MS = 3000;
const SPARE_ROWS = 6;

/* --- making one --- */

const GIB = 2 ** 30;

function settingsOf(form) {
  const data = new FormData(form);
  const settings = { name: data.get('name').trim() || undefined, image: data.get('image') || undefined, network: data.get('network'), keepAlive: data.get('keepAlive') === 'on' };
  const memory = Number(data.get('memory'));
  const cpu = Number(data.get('cpu'));
  if (memory || cpu)
    settings.limits = { ...(memory ? { memoryBytes: Math.round(memory * GIB) } : {}), ...(cpu ? { cpuMillis: Math.round(cpu * 1000) } : {}) };
  const labels = data.get('labels').split(/[\s,]+/).filter(Boolean);
  if (labels.length)
    settings.labels = Object.fromEntries(labels.map((text) => {
      const at = text.indexOf('=');
      return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    }));
  return { id: data.get('id').trim(), settings };
}

function Create({ onClose }) {
  const form = useRef();
  const [images] = usePoll(() => api.listImages(), 0, []);
  const [run, busy, error] = useAction(async () => {
    const { id, settings } = settingsOf(form.current);
    const place = id || (await api.newId());
    await api.putSandbox(place, settings);
    location.hash = `#/s/${place}`;
  });
  const names = (images?.images ?? []).filter((image) => image.name);
  return (
    <Dialog title="New sandbox" onClose={onClose}>
      <form ref={form} class="grid" onSubmit={(event) => { event.preventDefault(); run(); }}>
        <label class="wide">Name<input name="name" maxLength="128" placeholder="for people, any text" autocomplete="off" autoFocus /></label>
        <label class="wide">Id
          <input name="id" pattern="[a-z2-7]{1,128}" placeholder="chosen for you" title="letters a to z and digits 2 to 7" autocomplete="off" />
        </label>
        <label>Image
          <select name="image" key={names.length}>
            {names.length === 0 && <option value="">default</option>}
            {names.map((image) => <option key={image.name} value={image.name} selected={image.default}>{image.name}</option>)}
          </select>
        </label>
        <label>Network
          <select name="network"><option value="internet">internet</option><option value="none">none</option></select>
        </label>
        <label>Memory, GiB<input name="memory" type="number" min="0.01" step="any" placeholder="default" /></label>
        <label>CPUs<input name="cpu" type="number" min="0.01" step="any" placeholder="default" /></label>
        <label class="wide">Labels<input name="labels" placeholder="team=a stage=test" autocomplete="off" /></label>
        <label class="wide check"><input name="keepAlive" type="checkbox" />Keep alive when nobody uses it</label>
        <Problem error={error} />
        <footer class="wide">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={busy}>Create</Button>
        </footer>
      </form>
    </Dialog>
  );
}

/* --- filter --- */

/* Every word must be somewhere: in the id, the name, the state, the image, a label. */
function matches(sandbox, words) {
  if (words.length === 0) return true;
  const labels = Object.entries(sandbox.labels).map(([name, value]) => `${name}=${value}`).join(' ');
  const text = `${sandbox.id} ${sandbox.name ?? ''} ${sandbox.state} ${sandbox.image} ${labels}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/* --- which rows are seen --- */

function useWindow(count) {
  const box = useRef();
  const [range, set] = useState({ from: 0, to: 20, height: 60 });
  useLayoutEffect(() => {
    const element = box.current;
    function look() {
      const height = parseFloat(getComputedStyle(element).getPropertyValue('--row')) || 60;
      const from = Math.max(0, Math.floor(element.scrollTop / height) - SPARE_ROWS);
      const to = Math.ceil((element.scrollTop + element.clientHeight) / height) + SPARE_ROWS;
      set((old) => (old.from === from && old.to === to && old.height === height ? old : { from, to, height }));
    }
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, [count > 0]);
  return [box, range];
}

/* Asks what the running ones of `shown` use, while they are seen. */
function useUsages(shown) {
  const ids = shown.filter((sandbox) => sandbox.state === 'running').map((sandbox) => sandbox.id);
  usePoll(async (signal) => {
    await Promise.all(ids.map(async (id) => {
      try {
        usageOf(id).add(await api.getStats(id, signal));
      } catch (error) {
        if (error.name !== 'AbortError' && error.status !== 404) throw error;
      }
    }));
    return {};
  }, USAGE_MS, [ids.join()]);
}

/* --- rows --- */

const Figure = ({ name, usage, series, top, text }) => (
  <div role="cell" class="figure">
    {usage ? <><Plot values={usage.series(series)} top={top} label={`${name} of the last minutes`} /><span>{text}</span></> : <span class="faint">–</span>}
  </div>
);

function Row({ sandbox, index, top, usage, onDestroy }) {
  const now = usage?.now ?? {};
  return (
    <div role="row" class="row" aria-rowindex={index + 2} style={{ transform: `translateY(${top}px)` }}>
      <div role="cell" class="name">
        <a href={`#/s/${sandbox.id}`} title={sandbox.id}>{sandbox.name ?? sandbox.id}</a>
        <div class="labels"><span class="faint">{sandbox.name ? `${sandbox.id} · ` : ''}{sandbox.image}</span> <Labels labels={sandbox.labels} /></div>
      </div>
      <div role="cell"><State state={sandbox.state} /></div>
      <div role="cell" class="age" title={format.time(sandbox.createdAt)}>{format.age(sandbox.createdAt)}</div>
      <Figure name="CPU" usage={usage} series="cpu" top={sandbox.limits.cpuMillis / 10} text={format.percent(now.cpu)} />
      <Figure name="Memory" usage={usage} series="memory" top={sandbox.limits.memoryBytes} text={format.bytes(now.memory)} />
      <Figure name="Disk" usage={usage} series="disk" top={sandbox.limits.diskBytes} text={format.bytes(now.disk)} />
      <Figure name="Network" usage={usage} series="network" text={format.rate(now.network)} />
      <div role="cell" class="actions">
        <Button kind="quiet" icon="trash" label={`Destroy ${sandbox.id}`} onClick={() => onDestroy(sandbox.id)} />
      </div>
    </div>
  );
}

const HEADS = ['Sandbox', 'State', 'Age', 'CPU', 'Memory', 'Disk', 'Network'];

export function List() {
  const [all, error, again] = usePoll(api.listSandboxes, LIST_MS, []);
  const [search, setSearch] = useState('');
  const [state, setState] = useState('');
  const [dialog, setDialog] = useState(null);
  const input = useRef();

  useEffect(() => {
    let timer;
    const end = api.followSandboxes(() => {
      timer ??= setTimeout(() => {
        timer = undefined;
        again();
      }, EVENTS_MS);
    });
    return () => {
      clearTimeout(timer);
      end();
    };
  }, []);

  const rows = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    return (all ?? []).filter((sandbox) => (!state || sandbox.state === state) && matches(sandbox, words)).reverse();
  }, [all, search, state]);
  const [box, range] = useWindow(rows.length);
  const shown = rows.slice(range.from, range.to);
  useUsages(shown);

  useEffect(() => {
    const focus = (event) => {
      if (event.key !== '/' || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
      event.preventDefault();
      input.current.focus();
    };
    addEventListener('keydown', focus);
    return () => removeEventListener('keydown', focus);
  }, []);

  return (
    <main class="list">
      <div class="bar">
        <h1>Sandboxes <span class="count">{all ? (rows.length === all.length ? all.length : `${rows.length} of ${all.length}`) : ''}</span></h1>
        <span class="spring" />
        <label class="search"><Icon name="search" />
          <input ref={input} type="search" aria-label="Search sandboxes" placeholder="Search: name, label, image" value={search}
            onInput={(event) => setSearch(event.target.value)} />
        </label>
        <select aria-label="State" value={state} onChange={(event) => setState(event.target.value)}>
          <option value="">all states</option>
          {['running', 'sleeping', 'stopped', 'creating'].map((name) => <option key={name}>{name}</option>)}
        </select>
        <Button kind="primary" icon="plus" onClick={() => setDialog({ create: true })}>New sandbox</Button>
      </div>
      <Problem error={error} />
      <div class="table card" role="table" aria-label="Sandboxes" aria-rowcount={rows.length + 1}>
        <div role="rowgroup"><div role="row" class="row heads" aria-rowindex={1}>
          {HEADS.map((head) => <div role="columnheader" key={head}>{head}</div>)}
          <div role="columnheader"><span class="hidden">Actions</span></div>
        </div></div>
        {all && rows.length === 0 && <Empty>{all.length ? 'No sandbox matches.' : 'There is no sandbox yet. Make the first one with “New sandbox”.'}</Empty>}
        <div role="rowgroup" class="rows" ref={box} tabIndex={rows.length ? 0 : -1} aria-label="Rows">
          <div class="extent" role="presentation" style={{ height: `${rows.length * range.height}px` }}>
            {shown.map((sandbox, i) => (
              <Row key={sandbox.id} sandbox={sandbox} index={range.from + i} top={(range.from + i) * range.height}
                usage={sandbox.state === 'running' ? usageOf(sandbox.id) : null} onDestroy={(id) => setDialog({ destroy: id })} />
            ))}
          </div>
        </div>
      </div>
      {dialog?.create && <Create onClose={() => setDialog(null)} />}
      {dialog?.destroy && (
        <Confirm title="Destroy the sandbox?" verb="Destroy" onClose={() => setDialog(null)}
          text={`${dialog.destroy}, its processes and its files will be gone.`}
          action={async () => { await api.deleteSandbox(dialog.destroy); again(); }} />
      )}
    </main>
  );
}
