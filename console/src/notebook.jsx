/* A notebook: cells of Python or JavaScript that share one interpreter per language. */
import { useEffect, useRef, useState } from 'preact/hooks';

import * as api from './api.js';
import { addOutput, Outputs } from './outputs.jsx';
import { Button, Problem } from './ui.jsx';

const OUTPUTS_MAX = 200;
const LANGUAGES = [['python', 'Python'], ['javascript', 'JavaScript'], ['typescript', 'TypeScript']];

let lastKey = 0;
const emptyCell = (language) => ({ key: ++lastKey, language, code: '', outputs: [], state: 'new', count: null });

/* The cells of a sandbox outlive the page in this tab, without what they answered. */
const keyOf = (id) => `berm-notebook-${id}`;

function restore(id) {
  try {
    const cells = JSON.parse(sessionStorage.getItem(keyOf(id))).map(({ language, code }) => ({ ...emptyCell(language), code }));
    return cells.length ? cells : [emptyCell('python')];
  } catch {
    return [emptyCell('python')];
  }
}

function Cell({ cell, onChange, onRun, onInterrupt, onRemove }) {
  const text = useRef();
  const keys = (event) => {
    if (event.key === 'Enter' && (event.shiftKey || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onRun();
    }
  };
  const lines = Math.max(2, Math.min(24, cell.code.split('\n').length));
  return (
    <article class={`cell card ${cell.state}`}>
      <header>
        <span class="count" aria-hidden="true">{cell.state === 'running' ? '[*]' : cell.count ? `[${cell.count}]` : '[ ]'}</span>
        <select aria-label="Language" value={cell.language} onChange={(event) => onChange({ language: event.target.value })}>
          {LANGUAGES.map(([name, title]) => <option key={name} value={name}>{title}</option>)}
        </select>
        <span class="spring" />
        {cell.state === 'running'
          ? <Button icon="stop" onClick={onInterrupt}>Interrupt</Button>
          : <Button icon="play" kind="primary" title="Run (Shift+Enter)" onClick={onRun}>Run</Button>}
        <Button kind="quiet" icon="trash" label="Remove the cell" onClick={onRemove} />
      </header>
      <textarea ref={text} class="mono" aria-label="Code" rows={lines} spellcheck={false} wrap="off" value={cell.code}
        onInput={(event) => onChange({ code: event.target.value })} onKeyDown={keys} placeholder="Shift+Enter runs it" />
      <div class="outputs" aria-live="polite"><Problem error={cell.error} /><Outputs outputs={cell.outputs} /></div>
    </article>
  );
}

export function Notebook({ id }) {
  const [cells, setCells] = useState(() => restore(id));
  const contexts = useRef({}); /* promises of ids, by language */
  const count = useRef(0);

  useEffect(() => {
    sessionStorage.setItem(keyOf(id), JSON.stringify(cells.map(({ language, code }) => ({ language, code }))));
  }, [cells]);

  const change = (key, how) => setCells((old) => old.map((cell) => (cell.key === key ? { ...cell, ...(typeof how === 'function' ? how(cell) : how) } : cell)));

  function contextOf(language) {
    contexts.current[language] ??= api.createContext(id, language).then((answer) => answer.contextId);
    contexts.current[language].catch(() => delete contexts.current[language]);
    return contexts.current[language];
  }

  async function run(cell) {
    change(cell.key, { state: 'running', outputs: [], error: null });
    let state = 'done';
    try {
      const context = await contextOf(cell.language);
      for await (const { data } of api.runCode(id, context, cell.code)) {
        const event = JSON.parse(data);
        if (event.type === 'error') state = 'failed';
        if (event.type !== 'execution_complete')
          change(cell.key, (now) => ({ outputs: now.outputs.length < OUTPUTS_MAX ? addOutput(now.outputs, event) : now.outputs }));
        if (['InterpreterDied', 'ContextDeleted'].includes(event.ename)) delete contexts.current[cell.language];
      }
    } catch (error) {
      state = 'failed';
      if (error.code === 'CONTEXT_NOT_FOUND') delete contexts.current[cell.language];
      change(cell.key, { error });
    }
    change(cell.key, { state, count: ++count.current });
  }

  async function interrupt(cell) {
    try {
      await api.interruptContext(id, await contextOf(cell.language));
    } catch (error) {
      change(cell.key, { error });
    }
  }

  async function restart() {
    const all = Object.values(contexts.current);
    contexts.current = {};
    count.current = 0;
    for (const context of all) await context.then((name) => api.deleteContext(id, name)).catch(() => {});
  }

  const add = () => setCells((old) => [...old, emptyCell(old.at(-1)?.language ?? 'python')]);
  return (
    <div class="notebook">
      {cells.map((cell) => (
        <Cell key={cell.key} cell={cell} onChange={(how) => change(cell.key, how)} onRun={() => run(cell)} onInterrupt={() => interrupt(cell)}
          onRemove={() => setCells((old) => old.filter((other) => other.key !== cell.key))} />
      ))}
      <div class="line">
        <Button icon="plus" onClick={add}>Cell</Button>
        <Button icon="refresh" onClick={restart}>Restart interpreters</Button>
      </div>
    </div>
  );
}
