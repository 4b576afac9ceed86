# IPython's way of a cell, without asking for what an ordinary cell does not need.
#
# More than half of the time of `1+1` goes into filters that nobody has set, traits and their observers. For an ordinary
# cell Cells does what run_cell() does, in the same order and with the same effects, and reads what decides about them
# directly. A cell that is not ordinary goes to run_cell() before anything has happened: other syntax than a line of
# Python, top-level await, transformers, replaced parts of IPython, observers, another IPython than the one that this
# mirrors. What user code does, its errors and what is shown of them are IPython's run_ast_nodes() in either case.
import ast
import builtins
import hashlib
import linecache
import re
import sys
import time


class Unchanged:
    """Whether methods whose work is done in their place are still what they were."""

    def __init__(self, *parts):
        """`parts`: (object, names of methods)."""
        self.methods = [(type(part), name, getattr(type(part), name)) for part, names in parts for name in names.split()]
        self.instances = [(vars(part), frozenset(names.split())) for part, names in parts]

    def __call__(self):
        for kind, name, method in self.methods:
            if getattr(kind, name, None) is not method:
                return False
        for own, names in self.instances:
            if not names.isdisjoint(own):
                return False
        return True


# One line that begins as Python does, without any character of IPython's syntax or of a prompt. And its first word.
ORDINARY = re.compile(r'''(?=[\w"'(\[{~+-])([\w.*]*)[^%!?\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]*\n?\Z''')
UNUSUAL = re.compile(r'In \[|await|async|\s*(?:exit|quit)|\s*paste\s*\Z')

LONG = 256  # characters. What is nested deeper than Python can compile is longer.

# Traits that are set here.
SET = frozenset((
    'execution_count', 'last_execution_succeeded', 'last_execution_result', 'exec_result', 'user_ns', '_i', '_ii', '_iii',
    '_i00'))


class Cells:
    MIRRORED = 8, 5  # IPython's version

    def __init__(self, shell):
        from IPython import version_info
        from traitlets import All
        self.shell, self.All, self.known = shell, All, version_info[:2] == self.MIRRORED
        if not self.known:
            return
        from IPython.core import async_helpers, autocall, interactiveshell, macro
        self.Info, self.Result = interactiveshell.ExecutionInfo, interactiveshell.ExecutionResult
        self.softspace = interactiveshell.softspace
        self.advance = async_helpers._pseudo_sync_runner
        self.called_alone = macro.Macro, autocall.IPyAutocall
        self.unchanged = Unchanged(
            (shell, 'run_cell _run_cell run_cell_async transform_cell should_run_async push transform_ast find_magic'),
            (shell.history_manager, 'store_inputs store_output'), (shell.compile, 'cache get_code_name'), (shell.events, 'trigger'),
            (shell.input_transformer_manager, 'transform_cell do_one_token_transform'),
            (shell.prefilter_manager, 'prefilter_lines prefilter_line prefilter_line_info find_handler transform_line'))
        self.same_display = Unchanged((
            shell.displayhook, 'check_for_underscore start_displayhook update_user_ns fill_exec_result log_output quiet cull_cache '
            'compute_format_data'))
        self.usual, _ = self.parts(), shell.autocall  # reading makes it a trait with a value

    def parts(self):
        """What a cell passes through. Equal to what it was, or no cell is ordinary."""
        shell = self.shell
        transformers, prefilter = shell.input_transformer_manager, shell.prefilter_manager
        return (shell.history_manager, transformers, prefilter, shell.compile, shell.displayhook,
                transformers.cleanup_transforms[:], transformers.line_transforms[:], transformers.token_transformers[:],
                transformers.do_token_transforms, prefilter._transformers[:], prefilter._checkers[:],
                prefilter._handlers.copy(), shell.ast_transformers[:], shell._trait_values.get('input_transformers_post') or [],
                shell.custom_exceptions, shell.trio_runner)

    def is_observed(self, part):
        notifiers = part._trait_notifiers
        return not SET.isdisjoint(notifiers) or any(notifiers.get(self.All, {}).values())

    def is_ordinary(self, code):
        if not self.known or len(code) > LONG or UNUSUAL.search(code):
            return False
        match = ORDINARY.match(code)
        if match is None or not self.unchanged() or self.parts() != self.usual:
            return False
        shell, word = self.shell, match[1]
        traits, history = shell._trait_values, shell.history_manager._trait_values
        return not (
            word in shell.magics_manager.magics['line'] or isinstance(shell.user_ns.get(word), self.called_alone)
            or traits.get('autocall') != 0 or 'last_execution_result' not in traits or '_i00' not in history
            or history.get('db_log_output') is not False
            or self.is_observed(shell) or self.is_observed(shell.history_manager) or self.is_observed(shell.displayhook))

    def run_cell(self, code):
        try:
            ordinary = self.is_ordinary(code)
        except Exception:  # IPython was taken apart
            ordinary = False
        if not ordinary:
            return self.shell.run_cell(code, store_history=True)
        result = None
        try:
            result = self.run(code, code if code[-1] == '\n' else code + '\n')
        finally:
            self.trigger('post_execute')
            self.trigger('post_run_cell', result)
        return result

    def trigger(self, event, *args):
        events = self.shell.events
        if events.callbacks[event]:
            events.trigger(event, *args)

    def run(self, code, cell):
        try:
            return self.run_line(code, cell)
        except BaseException as error:  # as in _run_cell(): of the machinery, an interrupt most likely
            result = self.Result(self.Info(code, True, False, True, None))
            result.error_in_exec = error
            self.shell.showtraceback(running_compiled_code=True)
            return result

    def run_line(self, code, cell):
        shell = self.shell
        shell._last_input_line = cell[:-1]
        info = self.Info(code, True, False, True, None)
        result = self.Result(info)
        result.execution_count = shell.execution_count
        self.trigger('pre_execute')
        self.trigger('pre_run_cell', info)
        self.store_inputs(shell.execution_count, cell[:-1], code)
        shell.logger.log(cell, code)
        with shell.builtin_trap:
            name = self.name_code(cell)
            with shell.display_trap:
                try:
                    tree = shell.compile.ast_parse(cell, filename=name)
                except (OverflowError, SyntaxError, ValueError, TypeError, MemoryError) as error:
                    (shell.showindentationerror if isinstance(error, IndentationError) else shell.showsyntaxerror)()
                    result.error_before_exec = error
                    self.end(result, False)
                    return result
                hook = shell.displayhook._trait_values
                hook['exec_result'] = result
                self.end(result, self.run_statements(tree.body, name, result))
                hook['exec_result'] = None
        return result

    def run_statements(self, statements, name, result):
        """As run_ast_nodes() does, which would ask each statement whether it is to be awaited. True: nothing was raised."""
        shell, compiler = self.shell, self.shell.compile
        interactivity = shell.ast_node_interactivity
        last = statements[-1] if statements else None
        if interactivity != 'last_expr':
            return not self.advance(shell.run_ast_nodes(statements, name, interactivity, compiler, result))
        try:
            for statement in statements:
                shown = statement is last and isinstance(last, ast.Expr)
                code = compiler(ast.Interactive([statement]) if shown else ast.Module([statement], []), name, 'single' if shown else 'exec')
                if self.advance(shell.run_code(code, result)):
                    return False
            if statements and self.softspace(sys.stdout, 0):
                print()
        except:  # noqa: E722: of the compiler
            result.error_before_exec = sys.exc_info()[1]
            shell.showtraceback()
            return False
        return True

    def show(self, hook, usual, value):
        """As the hook does with a cell's value. False: it has to."""
        if not self.known or '_' in vars(builtins) or not self.same_display():
            return False
        if value is None:
            return True
        shell = self.shell
        history, names, number = shell.history_manager, shell.user_ns, shell.execution_count
        text = plain_text(shell.display_formatter, usual, value)
        if text is None or not history.input_hist_parsed or ';' in history.input_hist_parsed[-1] or shell.logger.log_output \
                or not hook.do_full_cache or '_oh' not in names or len(names['_oh']) >= hook.cache_size:
            return False
        hook.write_output_prompt()
        old = hook._, hook.__, hook.___
        hook._, hook.__, hook.___ = value, hook._, hook.__
        changed = {}
        if all(name not in names or names[name] is known for name, known in zip(('_', '__', '___'), old)):
            changed = {'_': value, '__': hook.__, '___': hook.___}
        changed['_%s' % number] = value
        names.update(changed)
        shell.user_ns_hidden.update(changed)
        names['_oh'][number] = value
        result = hook._trait_values['exec_result']
        if result is not None:
            result.result = value
        hook.value = value
        hook.write_format_data({'text/plain': text}, {})
        history.output_hist_reprs[number] = text
        hook.finish_displayhook()
        return True

    def end(self, result, succeeded):
        self.shell._trait_values.update(
            last_execution_succeeded=succeeded, last_execution_result=result, execution_count=self.shell.execution_count + 1)

    def store_inputs(self, number, cell, code):
        shell, history = self.shell, self.shell.history_manager
        traits = history._trait_values
        code = code.rstrip('\n')
        history.input_hist_parsed.append(cell)
        history.input_hist_raw.append(code)
        with history.db_input_cache_lock:
            history.db_input_cache.append((number, cell, code))
            if len(history.db_input_cache) >= history.db_cache_size:
                history.save_flag.set()
        traits['_iii'], traits['_ii'], traits['_i'], traits['_i00'] = traits['_ii'], traits['_i'], traits['_i00'], code
        names = {'_i': traits['_i'], '_ii': traits['_ii'], '_iii': traits['_iii'], '_i%s' % number: code}
        shell.user_ns.update(names)
        shell.user_ns_hidden.update(names)

    def name_code(self, cell):
        number, compiler = self.shell.execution_count, self.shell.compile
        name = '<ipython-input-%s-%s>' % (number, hashlib.sha1(cell.encode('utf-8')).hexdigest()[:12])
        compiler._filename_map[name] = number
        linecache.cache[name] = linecache._ipython_cache[name] = len(cell), time.time(), [cell], name
        return name
