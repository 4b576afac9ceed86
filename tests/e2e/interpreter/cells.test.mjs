/* Ordinary cells do not go through IPython's run_cell(): nobody may be able to tell. Each cell runs in two contexts, in one of which all go there. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { test } from '../lib/test.mjs';
import { World, whyNotHere } from './helper.mjs';

const skip = whyNotHere();

/* An attribute of the shell's own is enough for the kernel to leave everything to it. And a look at all that a cell may leave behind. */
const PREPARE = `
import os, sys, types
shell = get_ipython()
if os.environ['WAY'] == 'ipython':
    shell.run_cell = shell.run_cell
def show(shell=shell, sys=sys):
    import builtins, linecache
    history, hook, last = shell.history_manager, shell.displayhook, shell.last_execution_result
    told = lambda value: value if isinstance(value, (int, str, type(None))) else repr(value)
    for name, value in list(shell.user_ns.items()):
        print(name, len(value) if name in ('_ih', 'In', '_oh', 'Out') else told(value), name in shell.user_ns_hidden)
    print(list(shell.user_ns_hidden)[-9:], sorted(vars(builtins)))
    print(history.input_hist_parsed[-3:], history.input_hist_raw[-3:], history.db_input_cache[-3:])
    print(list(history.output_hist_reprs.items())[-3:], list(shell.user_ns.get('_oh', {}).items())[-3:])
    print([getattr(history, name) for name in ('_i', '_ii', '_iii', '_i00')], history.save_flag.is_set())
    print(repr(hook._), repr(hook.__), repr(hook.___), hook.exec_result is None)
    print(shell.execution_count, shell.last_execution_succeeded, getattr(shell, '_last_input_line', None), shell.compile.flags)
    print(last.execution_count, told(last.result), repr(last.error_before_exec), repr(last.error_in_exec), repr(last.info))
    print([(name, entry[0], entry[2], linecache.cache.get(name) is entry) for name, entry in linecache._ipython_cache.items()][-3:])
    print(list(shell.compile._filename_map.items())[-3:])
    print(sys.displayhook is hook, sys.excepthook, hasattr(sys, 'last_value'))
sys.modules['berm_state'] = types.ModuleType('berm_state')
sys.modules['berm_state'].show = show
del os, sys, types, shell, show`;
const STATE = '__import__("berm_state").show()';

const SETS = {
  'values and what is kept of them': [
    '1 + 1', '_', '_ + 1', '__', '___', '"text"', "'é \\u2028'", '"two" "words"', '"\\ud800"', 'None', 'True', '1.5', '1j', 'b"x"', '...',
    '[1, 2]', '{"a": 1}', '{1, 2}', '(1,)', '"\\n"', '"a\\nb"', '10 ** 5000', '-1', '~1', '(1)', 'x = 5', 'x', 'x; y = 2', 'y = 3; y', '1;', '1; 2', '1; # no',
    '";"', 'In', 'Out', 'In[1]', 'Out[1]', '_1', '_i', '_ii', '_iii', '_i2', '_oh', '_ih', '_dh', '__name__', 'print(1)', 'print(1); 2', 'int', 'len',
    'lambda: 0', 'def f(): return 1', 'f()', 'for i in (1, 2): i', 'if 1: 2', 'class C: pass', 'C()', 'C.__name__', 'import math', 'math.pi', 'math.floor(2.5)',
    'é = 7', 'é', 'a, b = 1, 2', 'a', 'del a', '(lambda q: q)(3)', 'type("I", (int,), {})(3)', 'f"{1}"', 'r"\\d"', '(w := 9)', 'x == 5', 'x / 2', 'x * 2', 'x.real',
    'globals() is locals()', 'globals()["_"]', 'exec("1")', 'eval("1")', 'vars()["x"]', '1 if x else 2', 'assert 1', 'pass', 'import numpy, pandas; numpy.int64(3)',
    'pandas.Series([1])', 'open("/dev/null").read()', '0x10', '1_000', '"x" * 300', 'list(range(2000))', 'get_ipython().history_manager.input_hist_raw[-1]',
  ],
  'what looks like one line and is not': [
    '', ' ', '\n', '# comment', '1 # comment', '1\n', '1\n\n', '\n1', ' 1', '\t1', '1\n2', '1\r2', '1\r\n', '1\u20282', '1\x0c2', 'x = (1,\n 2)', 'if 1:\n  3', '>>> 1 + 1', '... 1', 'In [1]: 1 + 1',
    '[nav] In [1]: 1', '7 % 2', '"100%"', '"!"', '!echo hi', 'x = !echo hi', '%precision 2', '1.23456', '%precision', '%pprint', 'int?', '?int', 'pwd', 'pwd = 3', 'pwd', 'del pwd', 'ls = 1',
    'who', 'paste', ' paste', 'exit', 'exit()', 'quit', 'exit ()', 'exit = 1', 'exit', 'del exit', ',len a', ';len a', '/len a', '@x', 'await 1', 'import asyncio; await asyncio.sleep(0, 5)',
    '"await"', 'async def g(): return 4', 'await g()', '%macro m 1', 'm', 'x'.repeat(300) + ' = 1', '['.repeat(100) + ']'.repeat(100), '-'.repeat(250) + '1', '('.repeat(250), '-'.repeat(2000) + '1',
  ],
  errors: [
    '1 / 0', '_', 'undefined', 'x = = 1', 'x = ', '(1', '1)', '"open', 'return', 'return 1', 'yield 1', 'yield', 'f() = 1', 'break', '1 is 1', 'assert (1, 2)', '"\\d"', 'print "x"', 'raise ValueError("é")',
    'raise KeyboardInterrupt', 'raise SystemExit(2)', 'import sys; sys.exit(3)', 'raise Exception', 'raise 1', 'int("x")', 'import nothing_like_it', '1 / 0; 2', '2; 1 / 0', 'del undefined',
    '(lambda: 1 / 0)()', 'exec("1/0")', 'eval("x = 1")', 'import warnings; warnings.warn("w")', 'warnings.warn("w", stacklevel=2)', 'warnings.warn("w")',
    'type("R", (), {"__repr__": lambda self: 1 / 0})()', 'from __future__ import nothing', 'from __future__ import annotations', 'def h(q: undefined): pass', '1 +', 'x y', '0777', '1 = 2', 'nonlocal x', 'global x',
    'import os; os.system("exit 3")', 'raise IndentationError("x")', 'raise SyntaxError("x")', 'get_ipython().showtraceback()', '9' + '9'.repeat(240), '_', 'sys.last_type', 'import traceback; traceback.format_exc()',
    '"x".__class__.__bases__[0].__subclasses__', 'sys.excepthook', 'sys.displayhook', 'sys.displayhook(4)', 'get_ipython().displayhook(5)', 'sys.stdout.softspace', 'sys.stdout.softspace = 1', '1',
  ],
  'what somebody changed': [
    '_ = 7', '8', '_', 'del _', '9', '_', '__ = 1', '10', '__', '_oh.clear()', '11', 'import builtins; builtins._ = 5', '1', '2', 'del builtins._', '3', '_', '4',
    'ip = get_ipython()', 'ip.execution_count = 50', '1', '_50', 'ip.run_cell("1 + 2")', 'ip.run_cell("1 + 2", store_history=True)', 'ip.run_cell("1/0").error_in_exec', 'ip.ex("1")', 'ip.ev("1")', 'ip.user_ns["_"]',
    'ip.ast_node_interactivity = "all"', '1; 2', 'x = 3', 'ip.ast_node_interactivity = "last_expr_or_assign"', 'x = 4', 'ip.ast_node_interactivity = "none"', '5', 'ip.ast_node_interactivity = "last_expr"', '6',
    'ip.events.register("post_execute", lambda: print("post"))', '1', 'ip.events.register("pre_execute", lambda: print("pre"))', '2', 'ip.events.register("pre_run_cell", lambda info: print(info))', '3',
    'ip.events.register("post_run_cell", lambda result: print(result))', '4', '1/0', 'x = = 1', 'ip.events.register("post_execute", lambda: 1 / 0)', '5', 'for a in ip.events.callbacks.values(): a.clear()', '6',
    'ip.input_transformers_post.append(lambda lines: [line.replace("seven", "7") for line in lines])', 'seven', 'ip.input_transformers_post.clear()', '8', 'ip.input_transformers_cleanup.insert(0, lambda lines: ["9\\n"])', 'x',
    'ip.reset(new_session=False)', 'import ast, sys; ip = get_ipython()', 'class T(ast.NodeTransformer): visit_Constant = lambda self, node: ast.Constant(77)', 'ip.ast_transformers.append(T())', '1', 'ip.ast_transformers.clear()',
    'ip.set_custom_exc((ZeroDivisionError,), lambda self, etype, value, tb, tb_offset=None: print("custom"))', '1/0', 'ip.set_custom_exc((), None)', '1/0',
    'f = ip.display_formatter.formatters["text/plain"]', 'f.for_type(int, lambda n, p, cycle: p.text("int"))', '1', '"s"', 'del f.type_printers[int]', '1', 'f.for_type(int, int.__repr__)',
    'ip.display_formatter.formatters["text/html"].for_type(str, lambda s: "<b>")', '"s"', 'ip.separate_out = "--\\n"', '1', 'ip.separate_out2 = "==\\n"', '1', 'ip.autocall = 2', 'len [1]', 'ip.autocall = 0', 'ip.automagic = False', 'pwd', 'ip.automagic = True',
    'ip.observe(lambda change: print(change.old, change.new), "execution_count")', '1', 'ip.unobserve_all("execution_count")', '1', 'ip.observe(lambda change: print(change.name))', '1', 'ip.unobserve_all()', '1',
    'ip.displayhook.cache_size = 3', '1', '2', '3', '4', 'Out', 'ip.displayhook.cache_size = 0', '5', '_', 'ip.displayhook.cache_size = 1000; ip.displayhook.do_full_cache = 0', '6', 'ip.displayhook.do_full_cache = 1', '7',
    'ip.write_format_data = 1', 'ip.displayhook.log_output = lambda data: print(data)', '8', 'del ip.displayhook.log_output', 'import io; old, sys.stdout = sys.stdout, io.StringIO()', '9', 'print(1)', 'sys.stdout, old = old, sys.stdout; old.getvalue()', '10',
    'from contextlib import redirect_stdout as r', 'with r(io.StringIO()) as s: ip.displayhook(3)', 's.getvalue()', '%xmode Plain', '1/0', '%xmode Context', '%autoawait off', '11', '%autoawait on', '12', '%reset -f out', '13', '_', '%reset -f', '14', 'get_ipython().db',
    'type(get_ipython()).push = lambda self, variables, interactive=True: print("push")', '15', '_',
  ],
};

/* Without addresses. */
const normal = (text) => text.replace(/\b(?:0x|at )[0-9a-f]{6,}\b/g, '@');

describe('an ordinary Python cell', { skip }, () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());

  const start = async (way) => {
    const context = await world.context({ env_vars: { WAY: way } });
    assert.equal((await world.run(context, PREPARE)).error, undefined);
    return context;
  };
  const answer = async (context, code) => {
    const { out, err, results, error, count } = await world.run(context, code);
    return normal(JSON.stringify({ code, out, err, results, error, count }, undefined, 1)).split(/\\n|\n/);
  };

  test('takes the short way, unless IPython was changed', async () => {
    const caller = 'import sys; sys._getframe(3).f_code.co_name';
    assert.deepEqual((await world.run(await start('short'), caller)).results, [{ text: "'run_statements'" }]);
    assert.deepEqual((await world.run(await start('ipython'), caller)).results, [{ text: "'run_cell_async'" }]);
  });

  for (const [name, cells] of Object.entries(SETS))
    test(`shows and leaves what IPython itself does: ${name}`, async () => {
      const [short, ipython] = await Promise.all(['short', 'ipython'].map(start));
      for (const code of cells) {
        assert.deepEqual(await answer(short, code), await answer(ipython, code));
        assert.deepEqual(await answer(short, STATE), await answer(ipython, STATE), code);
      }
    });
});
