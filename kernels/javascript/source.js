// What a cell's source needs before V8 runs it in its REPL mode, found by a scan of its tokens:
//   * const becomes let at the top level, so that a later cell may declare the name again in any way;
//   * import() goes through the kernel, for code that comes by way of the inspector has no module loader;
//   * static imports become dynamic ones, which scripts may have;
//   * a cell that ends with a declaration has the declared value as its result, one that ends with another
//     statement (if, for, try, ...) has none.
// The scan knows strings, templates, regular expressions and comments; what it gets wrong V8 still judges.
const { scanSource, assignInstead } = (() => {
  const KEYWORDS_BEFORE_EXPRESSION = new Set(['return', 'typeof', 'instanceof', 'in', 'of', 'new', 'delete', 'void', 'throw',
    'case', 'do', 'else', 'await', 'yield', 'default', 'extends']);
  const NAME = /[\p{ID_Start}$_#][\p{ID_Continue}$\u200c\u200d]*/uy;
  const NUMBER = /\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?/y;
  const SPACE = /(?:[\s\ufeff]|\/\/[^\n\u2028\u2029]*|\/\*[^]*?\*\/)+/y;
  const STRING = /'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"/y;
  const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y;
  const OPERATOR = /=>|\?\.(?!\d)|\.\.\.|\+\+|--|&&=|\|\|=|\?\?=|>>>=|<<=|>>=|\*\*=|&&|\|\||\?\?|[=!]==?|[-+*/%&|^<>]=|\*\*|[^]/y;

  // [{ text, at, end, depth, kind, newline }]: depth of brackets around it, newline: one comes before it.
  function tokens(code) {
    const found = [];
    const open = []; // '(', '[', '{' or '`' (an expression inside of a template)
    let at = code.startsWith('#!') ? (code + '\n').indexOf('\n') : 0;
    let newline = true;
    const match = (pattern) => {
      pattern.lastIndex = at;
      return pattern.exec(code)?.[0];
    };
    const add = (text, kind) => {
      found.push({ text, at, end: at + text.length, depth: open.length, kind, newline });
      at += text.length;
      newline = false;
    };
    const template = () => { // from a '`' or the '}' that ends an expression, to the end or the next expression
      for (let i = at + 1; i < code.length; i++) {
        if (code[i] === '\\') i++;
        else if (code[i] === '`') return add(code.slice(at, i + 1), 'string');
        else if (code[i] === '$' && code[i + 1] === '{') {
          add(code.slice(at, i + 2), 'template');
          return open.push('`');
        }
      }
      return add(code.slice(at), 'string');
    };
    const regexCanStart = () => {
      const last = found.at(-1);
      if (!last) return true;
      if (last.kind === 'name') return KEYWORDS_BEFORE_EXPRESSION.has(last.text);
      return last.kind === 'operator' && ![')', ']', '}', '++', '--'].includes(last.text);
    };
    while (at < code.length) {
      const space = match(SPACE);
      if (space) {
        newline ||= /[\n\r\u2028\u2029]/.test(space);
        at += space.length;
        continue;
      }
      const c = code[at];
      let text;
      if ((text = match(NAME))) add(text, 'name');
      else if ((text = match(NUMBER))) add(text, 'number');
      else if ((text = match(STRING))) add(text, 'string');
      else if (c === '`') template();
      else if (c === '/' && regexCanStart() && (text = match(REGEX))) add(text, 'regex');
      else if ('([{'.includes(c)) {
        add(c, 'operator');
        open.push(c);
      } else if (')]}'.includes(c)) {
        if (open.pop() === '`') template();
        else add(c, 'operator');
      } else add(match(OPERATOR), 'operator');
    }
    return found;
  }

  const STATEMENTS = new Set(['if', 'for', 'while', 'do', 'switch', 'try', 'with', '{']); // these have no value
  const CONTINUES = new Set(['in', 'of', 'instanceof', 'as']);

  // Whether the end of the line before `next` ends the statement, as far as the tokens tell.
  function endsLine(last, next) {
    if (!next.newline) return false;
    if (last.kind === 'operator' && ![')', ']', '}', '++', '--'].includes(last.text)) return false;
    if (last.kind === 'name' && KEYWORDS_BEFORE_EXPRESSION.has(last.text)) return false;
    if (next.kind === 'operator' && !['{', '++', '--', '!', '~', '#'].includes(next.text)) return false;
    if (next.kind === 'template' || (next.kind === 'string' && next.text[0] === '`')) return false;
    return !(next.kind === 'name' && CONTINUES.has(next.text));
  }

  // The first tokens of the statements at the top level, as indexes.
  function statements(list) {
    const starts = [];
    let fresh = true;
    let block = false; // the statement is a function or class declaration: it ends with its body
    list.forEach((token, i) => {
      if (token.depth > 0) return;
      const last = list[i - 1];
      if (!fresh && ((last.text === ';' && last.depth === 0) || endsLine(last, token) ||
                     (block && last.text === '}' && last.kind === 'operator' && last.depth === 0))) fresh = true;
      if (!fresh || token.text === ';') return;
      starts.push(i);
      fresh = false;
      block = token.text === 'function' || token.text === 'class' ||
        (token.text === 'async' && list[i + 1]?.text === 'function');
    });
    return starts;
  }

  function importStatement(list, i, end) {
    const part = list.slice(i + 1, end).filter((token) => token.text !== ';');
    const from = part.findIndex((token) => token.text === 'from' && token.depth === 0);
    const name = part[from + 1];
    if (name?.kind !== 'string') return undefined;
    const call = `await __berm_import(${name.text})`;
    if (from < 0) return call;
    const clause = part.slice(0, from);
    const names = [];
    let whole;
    for (let k = 0; k < clause.length; k++) {
      const { text, kind, depth } = clause[k];
      if (text === '*') {
        whole = clause[k + 2]?.text;
        k += 2;
      } else if ((kind === 'name' || kind === 'string') && depth > 0) {
        const renamed = clause[k + 1]?.text === 'as';
        names.push(renamed ? `${text}: ${clause[k + 2].text}` : text);
        if (renamed) k += 2;
      } else if (kind === 'name') names.push(`default: ${text}`);
    }
    if (whole) return `let ${whole} = ${call}${names.length ? `; let { ${names.join(', ')} } = ${whole}` : ''}`;
    return `let { ${names.join(', ')} } = ${call}`;
  }

  // The name whose value a declaration has, or undefined.
  function declaredName(list, i) {
    let at = i;
    if (['let', 'const', 'var', 'class', 'async'].includes(list[i].text)) at++;
    if (list[at]?.text === 'function') at += list[at + 1]?.text === '*' ? 2 : 1;
    return at > i && list[at]?.kind === 'name' && list[at].depth === 0 &&
      (list[at].text !== 'function') ? list[at].text : undefined;
  }

  const declares = (next) => next?.kind === 'name' || next?.text === '{' || next?.text === '[';

  const edited = (text, edits) => edits.sort((a, b) => b[0] - a[0])
    .reduce((now, [from, to, by]) => now.slice(0, from) + by + now.slice(to), text);

  // The same code with the declaration of `name` turned into an assignment, where V8 does not let it be declared.
  function assignInstead(code, name) {
    const list = tokens(code);
    const starts = statements(list);
    const edits = [];
    starts.forEach((i, k) => {
      const part = list.slice(i, starts[k + 1] ?? list.length);
      const [{ text, at, end }, next] = part;
      if (!part.some((token) => token.kind === 'name' && token.text === name)) return;
      if (['let', 'const', 'var'].includes(text) && declares(next)) {
        const last = part.filter((token) => token.text !== ';' || token.depth > 0).at(-1);
        edits.push([at, end, next.text === '{' ? ';(' : ';']);
        if (next.text === '{') edits.push([last.end, last.end, ')']);
        if (last === next) edits.push([last.end, last.end, ' = undefined']);
      } else if (declaredName(list, i) === name) edits.push([at, at, `;${name} = `], [part.at(-1).end, part.at(-1).end, ';']);
    });
    return edits.length ? edited(code, edits) : undefined;
  }

  const scan = (code) => {
    const list = tokens(code);
    const starts = statements(list);
    const edits = [];
    const end = (k) => starts[k + 1] ?? list.length;
    starts.forEach((i, k) => {
      const token = list[i];
      if (token.text === 'const' && declares(list[i + 1])) edits.push([token.at, token.end, 'let  ']);
      if (token.text === 'import' && !['(', '.'].includes(list[i + 1]?.text)) {
        const text = importStatement(list, i, end(k));
        if (text !== undefined) edits.push([token.at, list[end(k) - 1].end, `${text};`]);
      }
    });
    list.forEach((token, i) => {
      if (token.text === 'import' && list[i + 1]?.text === '(' && list[i - 1]?.text !== '.' && list[i - 1]?.text !== '?.')
        edits.push([token.at, token.end, '__berm_import']);
    });
    const text = edited(code, edits);
    const last = starts.at(-1);
    const name = last === undefined ? undefined : declaredName(list, last);
    return {
      text: name === undefined ? text : `${text}\n;${name}`,
      isStatement: last !== undefined && STATEMENTS.has(list[last].text),
    };
  };

  return { scanSource: scan, assignInstead };
})();
