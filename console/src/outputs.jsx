/*
 * What code has answered. Whatever comes from a sandbox is text, except for images, which cannot run anything, and HTML,
 * which is shown in a frame of its own: without scripts, without an origin, without a way to load anything.
 */
import { useMemo } from 'preact/hooks';

import { plain } from './format.js';
import { theme } from './theme.js';

const policy = globalThis.trustedTypes?.createPolicy('berm', { createHTML: (html) => html }) ?? { createHTML: (html) => html };
const frameStyle = () => document.querySelector('meta[name="frame-css"]').content;

/* What goes on to its end tag, by one look at each byte: an expression would look at what follows from every beginning anew. */
function without(html, begin, end) {
  let kept = '';
  for (let at = 0; ;) {
    begin.lastIndex = at;
    const from = begin.exec(html);
    end.lastIndex = begin.lastIndex;
    if (!from || !end.exec(html)) return kept + html.slice(at);
    kept += html.slice(at, from.index);
    at = end.lastIndex;
  }
}

/*
 * Without what the frame's policy refuses anyway, so that an ordinary table of pandas makes the browser complain about
 * nothing. Nothing depends on it.
 */
const quiet = (html) => without(without(html, /<script\b/gi, /<\/script\s*>/gi), /<style\b/gi, /<\/style\s*>/gi)
  .replace(/<[a-z][^<>]*>/gi, (tag) => tag.replace(/\s(?:style|on\w+)\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>]+)/gi, ''));

/* The policy stands before anything that the sandbox wrote, and a later one can only narrow it. */
function frameOf(html) {
  return policy.createHTML(
    '<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; ' +
    `style-src ${location.origin}"><meta charset="utf-8"><link rel="stylesheet" href="${location.origin}/${frameStyle()}">` +
    `<html data-theme="${theme()}"><body>${quiet(html)}`);
}

/* Nobody can measure what is in such a frame: tables get the room of their rows. */
const heightOf = (html) => Math.min(420, 40 + 28 * Math.max(2, (html.match(/<(tr|p|li|h\d|br)\b/gi) ?? []).length));

/* Made once: a frame that is given its content again loads it again. */
function Html({ html }) {
  const content = useMemo(() => frameOf(html), [html]);
  return <iframe title="HTML output" sandbox="" referrerpolicy="no-referrer" srcdoc={content} style={{ height: `${heightOf(html)}px` }} />;
}

const Picture = ({ type, data, chart }) => (
  <img class="picture" alt={chart?.title ? `Chart: ${chart.title}` : 'Picture made by the code'} src={`data:${type};base64,${data}`} />
);

const utf8Base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

function Chart({ chart }) {
  return (
    <details class="data">
      <summary>Data of the {chart.type} chart</summary>
      <pre>{JSON.stringify(chart.data, null, 1)}</pre>
    </details>
  );
}

/* One result; of several forms of the same value, the one that shows most. */
function Result({ result }) {
  const { chart } = result;
  let shown = null;
  if (result.png) shown = <Picture type="image/png" data={result.png} chart={chart} />;
  else if (result.jpeg) shown = <Picture type="image/jpeg" data={result.jpeg} chart={chart} />;
  else if (result.svg) shown = <Picture type="image/svg+xml" data={utf8Base64(result.svg)} chart={chart} />;
  else if (result.html) shown = <Html html={result.html} />;
  else if (result.json !== undefined) shown = <pre>{JSON.stringify(result.json, null, 2)}</pre>;
  else if (!chart) shown = <pre>{plain(String(result.markdown ?? result.latex ?? result.text ?? result.javascript ?? JSON.stringify(result)))}</pre>;
  return <div class="result">{shown}{chart && <Chart chart={chart} />}</div>;
}

function Failure({ error }) {
  const trace = plain((error.traceback ?? []).join('\n'));
  return (
    <div class="failure">
      <p><strong>{error.ename}</strong>: {plain(String(error.evalue))}</p>
      {trace && <pre>{trace}</pre>}
    </div>
  );
}

/* Text of the same stream one after the other is one piece; a text that only repeats an HTML result is left out. */
export function addOutput(outputs, event) {
  const last = outputs.at(-1);
  if ((event.type === 'stdout' || event.type === 'stderr') && last?.type === event.type)
    return [...outputs.slice(0, -1), { ...last, text: last.text + event.text }];
  if (event.type === 'result' && event.text !== undefined && last?.type === 'result' && last.html) return outputs;
  return [...outputs, event];
}

export const Outputs = ({ outputs }) => outputs.map((output, i) => {
  if (output.type === 'error') return <Failure key={i} error={output} />;
  if (output.type === 'result') return <Result key={i} result={output} />;
  return <pre key={i} class={output.type}>{plain(output.text)}</pre>;
});
