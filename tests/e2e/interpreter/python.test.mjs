/* What Python code is answered: results, output, errors, interrupts. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import zlib from 'node:zlib';
import { after, before, describe } from 'node:test';
import { test } from '../lib/test.mjs';
import { World, whyNotHere } from './helper.mjs';

const skip = whyNotHere();

function chunk(png, name) {
  for (let at = 8; at < png.length; at += png.readUInt32BE(at) + 12)
    if (png.toString('latin1', at + 4, at + 8) === name) return png.subarray(at + 8, at + 8 + png.readUInt32BE(at));
  return undefined;
}

describe('the Python interpreter', { skip }, () => {
  let world, python;
  before(async () => {
    world = await World.start();
    python = await world.context();
  });
  after(() => world?.stop());
  const run = (code, more) => world.run(python, code, more);

  test('a last expression is a result and is echoed, None is neither', async () => {
    const { events, out, results } = await run('1 + 1');
    assert.match(out, /^Out\[\d+\]: 2\n$/);
    assert.deepEqual(results, [{ text: '2' }]);
    assert.deepEqual(events.map(({ type }) => type).filter((type) => type !== 'stdout'), ['result', 'execution_complete']);
    assert.deepEqual(events.at(-2).metadata, {});
    assert.deepEqual((await run('None')).events.map(({ type }) => type), ['execution_complete']);
  });

  test('state stays, stdout and stderr are told apart', async () => {
    await run('import sys\nx = 20');
    const { out, err } = await run('print(x + 1); print("no", file=sys.stderr)');
    assert.deepEqual({ out, err }, { out: '21\n', err: 'no\n' });
  });

  test('one line of print is one event, and text that is not UTF-8 is made so', async () => {
    const { events } = await run('print("é" * 3)');
    assert.deepEqual(events.filter(({ type }) => type === 'stdout').map(({ text }) => text), ['ééé\n']);
    assert.equal((await run('import os\n_ = os.write(1, b"a\\xffb\\xc3")')).out, 'a\ufffdb\ufffd');
  });

  test('dictionaries and lists are JSON values, what JSON cannot hold is text', async () => {
    assert.deepEqual((await run('{"a": [1, 2.5, None, True], 1: "x"}')).results, [{ json: { a: [1, 2.5, null, true], 1: 'x' } }]);
    assert.deepEqual((await run('[float("nan")]')).results, [{ text: '[nan]' }]);
    assert.deepEqual((await run('{1: 1, "1": 2}')).results, [{ text: "{1: 1, '1': 2}" }]);
    assert.deepEqual((await run('a = []\nfor _ in range(200): a = [a]\na')).results[0].json, undefined);
    assert.deepEqual((await run('import numpy\n{"mean": numpy.float64(1.5), "n": numpy.int64(3)}')).results, [{ json: { mean: 1.5, n: 3 } }]);
    assert.deepEqual((await run('["\\ud800"]')).results, [{ json: ['?'] }]);
  });

  test('a string is shown as its repr', async () => {
    assert.deepEqual((await run('"s"')).results, [{ text: "'s'" }]);
  });

  test('each representation is a result of its own, a data frame is html and text', async () => {
    const { results } = await run('import pandas\npandas.DataFrame({"a": [1, 2]})');
    assert.deepEqual(results.map((result) => Object.keys(result)), [['html'], ['text']]);
    assert.match(results[0].html, /<table/);
    assert.equal(results[1].text, '   a\n0  1\n1  2');
  });

  test('display() shows what the value has, and text only where there is nothing else', async () => {
    const { results } = await run(`
from IPython.display import *
display(HTML("<b>x</b>")); display(Markdown("# h")); display(Latex("$x$")); display(JSON({"a": 1}))
display(Javascript("alert(1)")); display(SVG("<svg xmlns='http://www.w3.org/2000/svg'/>")); display("plain")
display({"application/pdf": "JVBERg=="}, raw=True); display({"image/jpeg": b"\\xff\\xd8\\xff"}, raw=True)`);
    assert.deepEqual(results.map((result) => Object.keys(result)[0]), ['html', 'markdown', 'latex', 'json', 'javascript', 'svg', 'text', 'pdf', 'jpeg']);
    assert.equal(results.at(-1).jpeg, '/9j/');
    assert.deepEqual(results[3], { json: { a: 1 } });
    assert.deepEqual(results[6], { text: "'plain'" });
  });

  test('printers that are registered for built-in types are asked, also after values were shown without', async () => {
    const own = await world.context();
    const shown = async (code) => (await world.run(own, code)).results;
    assert.deepEqual(await shown('5'), [{ text: '5' }]);
    await shown('html = get_ipython().display_formatter.formatters["text/html"]; html.for_type(int, lambda v: "<b>%d</b>" % v);');
    assert.deepEqual(await shown('5'), [{ html: '<b>5</b>' }, { text: '5' }]);
    assert.deepEqual(await shown('True'), [{ html: '<b>1</b>' }, { text: 'True' }]);
    assert.deepEqual(await shown('"s"'), [{ text: "'s'" }]);
    await shown('html.pop(int); html.for_type_by_name("builtins", "str", lambda v: "<i>s</i>");');
    assert.deepEqual([await shown('5'), await shown('"s"')], [[{ text: '5' }], [{ html: '<i>s</i>' }, { text: "'s'" }]]);
    await shown('html.for_type(object, lambda v: "any"); html.for_type(str, None);');
    assert.deepEqual(await shown('5.5'), [{ html: 'any' }, { text: '5.5' }]);
    await shown('class Number(int):\n  def _repr_html_(self): return "own"');
    assert.deepEqual((await shown('Number(3)'))[0], { html: 'any' });
    await shown('html.pop(object);');
    assert.deepEqual(await shown('Number(3)'), [{ html: 'own' }, { text: '3' }]);
    await world.remove(own);
  });

  test('the plain text of numbers and strings is what its formatter is told to make of them', async () => {
    const own = await world.context();
    const shown = async (code) => (await world.run(own, code)).results;
    assert.deepEqual([await shown('5'), await shown('"a\\n\\u2028"'), await shown('10 ** 60')],
      [[{ text: '5' }], [{ text: "'a\\n\\u2028'" }], [{ text: `1${'0'.repeat(60)}` }]]);
    await shown('formatter = get_ipython().display_formatter; plain = formatter.formatters["text/plain"]; plain.for_type(int, lambda v, p, cycle: p.text("a number"));');
    assert.deepEqual([await shown('5'), await shown('"s"')], [[{ text: 'a number' }], [{ text: "'s'" }]]);
    await shown('plain.pprint = False;');
    assert.deepEqual(await shown('5'), [{ text: '5' }]);
    await shown('plain.pprint = True; plain.pop(int); text = "one of its kind"; plain.singleton_printers[id(text)] = lambda v, p, cycle: p.text("it");');
    assert.deepEqual([await shown('5'), await shown('text'), await shown('"s"')], [[{ text: '5' }], [{ text: 'it' }], [{ text: "'s'" }]]);
    await shown('formatter.format = lambda value, *more, **named: ({"text/plain": "whatever"}, {});');
    assert.deepEqual(await shown('"s"'), [{ text: 'whatever' }]);
    await shown('del formatter.format; html = type(formatter.formatters["text/html"]); usual = html.__call__; html.__call__ = lambda self, value: "<p>";');
    assert.deepEqual(await shown('"s"'), [{ html: '<p>' }, { text: "'s'" }]);
    await shown('html.__call__ = usual; type(formatter).format = lambda self, value, *more, **named: ({"text/plain": "class"}, {});');
    assert.deepEqual(await shown('"s"'), [{ text: 'class' }]);
    await world.remove(own);
    assert.deepEqual((await run('10 ** 5000')).results.map((result) => Object.keys(result)), []);
  });

  test('IPython\'s syntax is understood in cells of one line', async () => {
    assert.deepEqual((await run('said = !echo one; echo two')).results, []);
    assert.deepEqual((await run('list(said)')).results, [{ json: ['one', 'two'] }]);
    assert.deepEqual((await run('here = %pwd')).error, undefined);
    assert.deepEqual((await run('[here == __import__("os").getcwd()]')).results, [{ json: [true] }]);
    assert.deepEqual((await run(',str.upper a')).results, [{ text: "'A'" }]);
    assert.deepEqual((await run('  /str.upper "b"')).results, [{ text: "'B'" }]);
    assert.match((await run('len?')).out, /Return the number of items/);
    assert.deepEqual((await run('7 % 4 # ! ?')).results, [{ text: '3' }]);
    assert.deepEqual((await run('>>> 1 + 2')).results, [{ text: '3' }]);
  });

  test('figures become pictures with the data of the chart, and are closed', async () => {
    const plot = await run(`
import matplotlib.pyplot as plt
plt.plot([1, 2, 3], [4, 5, 6], label="L"); plt.title("T"); plt.xlabel("X");`);
    assert.equal(plot.error, undefined, plot.err);
    assert.deepEqual(Buffer.from(plot.results[0].png, 'base64').subarray(0, 4), Buffer.from('\x89PNG', 'latin1'));
    const { layout, ...chart } = plot.results[0].chart;
    assert.deepEqual(chart, { type: 'line', title: 'T', library: 'matplotlib', data: [{ label: 'L', x: [1, 2, 3], y: [4, 5, 6] }] });
    assert.equal(layout.xLabel, 'X');
    assert.deepEqual((await run('plt.get_fignums()')).results, [{ json: [] }]);
    const chartOf = async (code) => (await run(`${code};`)).results[0].chart;
    const bar = await chartOf('plt.bar(["a", "b"], [3, 4])');
    assert.deepEqual([bar.type, bar.data], ['bar', [{ label: null, items: [{ label: 'a', value: 3 }, { label: 'b', value: 4 }] }]]);
    const pie = await chartOf('plt.pie([1, 3], labels=["p", "q"], autopct="%d%%")');
    assert.deepEqual([pie.type, pie.data.map(({ label, value }) => [label, value])], ['pie', [['p', 0.25], ['q', 0.75]]]);
    const scatter = await chartOf('plt.scatter([1, 2], [3, 4])');
    assert.deepEqual([scatter.type, scatter.data], ['scatter', [{ label: null, x: [1, 2], y: [3, 4] }]]);
    const box = await chartOf('plt.boxplot([[1, 2, 3, 4, 50]], labels=["one"])');
    assert.equal(box.type, 'unknown');
    assert.deepEqual(box.data, [{ kind: 'box', label: 'one', min: 1, first_quartile: 2, median: 3, third_quartile: 4, max: 4, outliers: [50] }]);
    assert.equal((await chartOf('plt.hist([1, 2, 2, 3])')).type, 'histogram');
    assert.equal((await chartOf('plt.imshow([[1, 2], [3, 4]])')).type, 'heatmap');
  });

  test('a picture has the pixels that matplotlib saves', async () => {
    await run('import hashlib, io, matplotlib, numpy as np\nimport matplotlib.pyplot as plt');
    for (const draw of ['plt.plot([1, 2, 3])', 'plt.bar(["a", "b"], [1, 2]); plt.xlabel("x"); plt.ylabel("y"); plt.title("t")', 'plt.plot([1e-9, 2e-9], "o-"); plt.legend(["l"])',
      'plt.loglog([1, 10, 100]); plt.minorticks_on(); plt.grid(True, "both")', 'f, ax = plt.subplots(2, 2); ax[0, 0].set_ylabel("a\\nb"); ax[1, 0].set_ylabel("c"); f.align_labels()',
      'plt.subplots(1, 2, layout="constrained")[1][0].set_xlabel("x")', 'plt.polar([1, 2])', 'plt.axes().xaxis.tick_top(); plt.xlabel("x"); plt.title("t"); plt.twinx().set_ylabel("z")', 'plt.axes(projection="3d").set_xlabel("x")',
      'plt.imshow([[1, 2]]); plt.colorbar(label="c")', 'plt.plot(np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"), [1, 2]); plt.gcf().autofmt_xdate()', 'plt.rcParams["savefig.bbox"] = "tight"; plt.plot([1]); plt.ylabel("y")']) {
      const { out, results } = await run(`${draw}\nb = io.BytesIO(); plt.savefig(b, format="rgba"); plt.close()\n${draw};\nprint(hashlib.sha1(b.getvalue()).hexdigest())`);
      const png = Buffer.from(results.at(-1).png, 'base64');
      const width = png.readUInt32BE(16);
      const lines = zlib.inflateSync(chunk(png, 'IDAT'));
      const pixels = Buffer.concat(Array.from({ length: png.readUInt32BE(20) }, (_, y) => lines.subarray(y * (1 + 4 * width) + 1, (y + 1) * (1 + 4 * width))));
      assert.equal(crypto.createHash('sha1').update(pixels).digest('hex'), out.trim(), draw);
    }
    await run('plt.rcParams.update(matplotlib.rcParamsDefault)');
  });

  test('show() shows at once, and %matplotlib inline is no error', async () => {
    const { results, out, error } = await run('%matplotlib inline\nimport os, matplotlib.pyplot as plt\nplt.plot([1]); plt.show(); print(plt.get_fignums())');
    assert.deepEqual([results.map((result) => Object.keys(result)[0]), out, error], [['png'], '[]\n', undefined]);
    const stream = await world.stream(python, 'os.mkfifo("/tmp/shown")\nplt.plot([1]); plt.show()\n_ = open("/tmp/shown").read()');
    assert.equal((await stream.next()).type, 'result');
    await world.api.exec(world.id, 'echo >/tmp/shown');
    assert.equal((await stream.rest()).error, undefined);
  });

  test('what was printed before a result is told before it', async () => {
    const { events } = await run('for i in range(20): print(i); display(i)');
    let printed = 0;
    for (const { type, text } of events) {
      if (type === 'stdout') printed += text.trim().split('\n').length;
      if (type === 'result') assert.ok(printed > Number(text), `${text} was told after ${printed} lines`);
    }
    assert.equal(printed, 20);
  });

  test('an exception has its name, value and traceback without colours; the coloured one is printed', async () => {
    const { error, out } = await run('def f():\n    return 1 / 0\nf()');
    assert.equal(error.ename, 'ZeroDivisionError');
    assert.equal(error.evalue, 'division by zero');
    assert.ok(error.traceback.some((line) => line.includes('return 1 / 0')), error.traceback.join('\n'));
    assert.ok(!error.traceback.join('').includes('\x1b'));
    assert.ok(out.includes('\x1b['));
    assert.deepEqual((await run('x')).results, [{ text: '20' }]);
  });

  test('a syntax error is an error', async () => {
    assert.equal((await run('x = = 1')).error.ename, 'SyntaxError');
    assert.equal((await run('if True:\nx')).error.ename, 'IndentationError');
  });

  test('sys.exit and exit are errors that the context survives', async () => {
    const { error, err } = await run('import sys; sys.exit(3)');
    assert.deepEqual([error.ename, error.evalue, err], ['SystemExit', '3', '']);
    assert.equal((await run('exit()')).error.ename, 'SystemExit');
    assert.deepEqual((await run('x')).results, [{ text: '20' }]);
  });

  test('input() says that it cannot work', async () => {
    const { error } = await run('input("name? ")');
    assert.equal(error.ename, 'StdinNotImplementedError');
    assert.match(error.evalue, /input\(\) cannot work/);
  });

  test('magics and shell commands work, what a command prints streams', async () => {
    assert.equal((await run('!echo from the shell; echo wrong >&2')).out, 'from the shell\n');
    assert.match((await run('%time 1')).out, /Wall time/);
    assert.equal((await run('%%bash\necho cell')).out, 'cell\n');
    assert.equal((await run('%nosuchmagic')).error.ename, 'UsageError');
  });

  test('top-level await works', async () => {
    assert.deepEqual((await run('import asyncio\nawait asyncio.sleep(0.01, 7)')).results, [{ text: '7' }]);
  });

  test('output arrives while the code runs', async () => {
    const stream = await world.stream(python, 'import os\nos.mkfifo("/tmp/go")\nprint("first")\n_ = open("/tmp/go").read()\nprint("second")');
    assert.deepEqual(await stream.next(), { type: 'stdout', text: 'first\n' });
    await world.api.exec(world.id, 'echo >/tmp/go');
    const { out, error } = await stream.rest();
    assert.deepEqual([out, error], ['second\n', undefined]);
  });

  for (const [what, code] of [['a loop', 'while True: pass'], ['a sleep', 'import time; time.sleep(60)'],
    ['an await', 'import asyncio; await asyncio.sleep(60)'], ['a command', '!sleep 60']])
    test(`an interrupt stops ${what} and keeps the context`, async () => {
      const stream = await world.stream(python, `print("started")\n${code}`);
      assert.deepEqual(await stream.next(), { type: 'stdout', text: 'started\n' });
      assert.equal((await world.interrupt(python)).json.interrupted, true);
      const { error } = await stream.rest();
      if (what !== 'a command') assert.equal(error.ename, 'KeyboardInterrupt');
      assert.deepEqual((await run('x')).results, [{ text: '20' }]);
      assert.equal((await world.interrupt(python)).json.interrupted, false);
    });

  test('a client that closes the stream interrupts the code', async () => {
    const stream = await world.stream(python, 'print("started")\nwhile True: pass');
    await stream.next();
    stream.request.destroy();
    assert.deepEqual((await run('x')).results, [{ text: '20' }]);
  });

  test('a time limit is an error of its own and keeps the context', async () => {
    const { error } = await run('while True: pass', { timeout_ms: 100 });
    assert.deepEqual([error.ename, error.evalue], ['TimeoutError', 'Execution timed out after 100ms']);
    assert.deepEqual((await run('x')).results, [{ text: '20' }]);
  });

  test('code that swallows the interrupt is ended with its interpreter, and says so', async () => {
    const context = await world.context();
    await world.run(context, '0'); // the first execution takes longer
    const { error } = await world.run(context, 'while True:\n  try: sum(range(1000))\n  except BaseException: pass', { timeout_ms: 100 });
    assert.equal(error.ename, 'TimeoutError');
    assert.equal((await world.execute(context, '1')).json.code, 'INTERNAL_ERROR');
    await world.remove(context);
  });

  test('a result larger than the limit is an error, not a hole', async () => {
    const { error } = await run('class Big:\n  def __repr__(self): return "x" * (33 << 20)\ndisplay(Big())');
    assert.equal(error.ename, 'OverflowError');
  });

  test('a hostile representation is left out or made text, and the context goes on', async () => {
    const { results, error } = await run(`
from IPython.display import display
deep = {}
for _ in range(5000): deep = {"a": deep}
display({"text/html": 5, "image/png": b"\\x00\\xff", "application/json": {"a": float("nan")}, "text/latex": "\\ud800</script>", "x/y": object(), "data: x\\n\\n": "y"}, raw=True)
display({"application/json": deep, "text/plain": "too deep"}, raw=True)
display({"application/json": {1: 1, "1": 2}}, raw=True)
display({"text/markdown": "data: {}\\n\\nevent: error\\r\\n\\r\\n\\0"}, raw=True)`);
    assert.equal(error, undefined, JSON.stringify(error));
    assert.deepEqual(results, [{ png: 'AP8=' }, { html: '5' }, { latex: '?</script>' }, { text: 'too deep' },
      { markdown: 'data: {}\n\nevent: error\r\n\r\n\0' }]);
    const { out } = await run('class Long:\n  def __repr__(self): return "\\ud800" + "x" * 70000\nLong()');
    assert.match(out, /^Out\[\d+\]: \?x{70000}\n$/);
    const { results: shown } = await run(`
class Hostile:
    def _repr_html_(self): raise ValueError("no")
    def _repr_png_(self): return object()
    def _repr_mimebundle_(self, **kwargs): return "nonsense"
    def __repr__(self): return "h"
Hostile()`);
    assert.deepEqual(shown.map((result) => result.text).filter(Boolean), ['h']);
    assert.deepEqual((await run('x')).results, [{ text: '20' }]);
  });

  test('a fork bomb meets the sandbox\'s limit, and the context goes on', async () => {
    const id = 'forkbomb';
    const reply = await world.api.put(`/v1/sandbox/${id}`, { limits: { pids: 40 } });
    assert.equal(reply.status, 201, reply.text);
    const context = await world.context({}, id);
    const { error } = await world.run(context, 'import os, time\nfor _ in range(100):\n  if os.fork() == 0: time.sleep(60)', {}, id);
    assert.equal(error.ename, 'BlockingIOError', JSON.stringify(error));
    assert.deepEqual((await world.run(context, '1', {}, id)).results, [{ text: '1' }]);
  });

  test('a picture has the size and the resolution that it was saved with', async () => {
    const head = async (code) => {
      const bytes = Buffer.from((await run(`import matplotlib.pyplot as plt\n${code};`)).results[0].png, 'base64');
      return [bytes.readUInt32BE(16), bytes.readUInt32BE(20), bytes.toString('latin1', 37, 41), bytes.readUInt32BE(41)];
    };
    assert.deepEqual(await head('plt.figure(figsize=(4, 2)); plt.plot([1])'), [400, 200, 'pHYs', 3937]);
    const saved = await head('plt.rcParams["savefig.dpi"] = 50; plt.figure(figsize=(4, 2)); plt.plot([1])');
    assert.deepEqual(saved, [200, 100, 'pHYs', 1969]);
    await run('plt.rcdefaults()');
    /* Pillow, which has no part in it, finds the same pixels as in a picture that matplotlib writes. */
    const { results } = await run(`
import base64, io, numpy, PIL.Image
f = plt.figure(figsize=(4, 2)); plt.plot([1, 2])
own = io.BytesIO(); f.savefig(own, format="png")
ours = io.BytesIO(base64.b64decode(base64.b64encode(get_ipython().display_formatter.format(f)[0]["image/png"])))
same = bool((numpy.asarray(PIL.Image.open(own)) == numpy.asarray(PIL.Image.open(ours))).all())
plt.close(f); [same]`);
    assert.deepEqual(results, [{ json: [true] }]);
  });

  test('a forked copy of the interpreter ends with its code and sends nothing', async () => {
    const { out, error } = await run('import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint("parent" if pid else "child")');
    assert.equal(error, undefined);
    assert.deepEqual(out.trim().split('\n').sort(), ['child', 'parent']);
    assert.deepEqual((await run('x')).results, [{ text: '20' }]);
  });

  test('nothing that is printed can pass for an event', async () => {
    const forged = '{"type":"execution_complete","execution_count":666}';
    const { events } = await run(`print('data: ${forged}\\n\\n' + chr(1) + '\\0\\0\\0d{}')`);
    assert.equal(events.length, 2);
    assert.equal(events[0].type, 'stdout');
    assert.notEqual(events[1].execution_count, 666);
  });

  test('a program that is started gets no descriptor of the interpreter', async () => {
    const { out } = await run('!ls /proc/self/fd');
    assert.deepEqual(out.trim().split(/\s+/), ['0', '1', '2', '3']); // 3 is the directory that ls reads
  });
});
