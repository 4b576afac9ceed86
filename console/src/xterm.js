/* xterm.js, loaded when the first terminal is opened. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';

/*
 * xterm.js puts its rules into <style> elements, which the page's policy forbids. The same rules in a style sheet that is
 * made by script are allowed: what is handed out for such an element while `make` runs keeps its text in one of those.
 */
function withAdoptedStyles(make) {
  const create = document.createElement;
  document.createElement = function createElement(name, ...rest) {
    if (String(name).toLowerCase() !== 'style') return create.call(document, name, ...rest);
    const element = create.call(document, 'template');
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    Object.defineProperty(element, 'textContent', { get: () => '', set: (text) => sheet.replaceSync(text) });
    element.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    };
    return element;
  };
  try {
    return make();
  } finally {
    delete document.createElement;
  }
}

export function openTerminal(parent, options) {
  const terminal = new Terminal({ cursorBlink: false, fontSize: 13, scrollback: 5000, minimumContrastRatio: 4.5, ...options });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  withAdoptedStyles(() => terminal.open(parent));
  return { terminal, fit };
}
