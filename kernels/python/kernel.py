# The Python kernel of the code interpreter: one process per context, an IPython shell and a channel to the agent.
#
# The agent hands this text over through the channel, a socket at descriptor CHANNEL, so no file of the sandbox has
# to hold it and nobody inside can change it before it runs. Frames are described in src/agent/interpreter/frame.h.
# User code owns this process: nothing that it sends is believed beyond what the context may show. What counts is
# that its *output* can never be taken for a frame, so stdout and stderr are pipes of their own.
#
# Frames to us:   I {cwd, env}            become this context's interpreter
#                 X {code}                execute
# Frames from us: P {}                    everything is imported, the shell is there
#                 R {} | F {message}      ready, or not going to be
#                 r {text|html|...}       one representation of a result
#                 e {ename, evalue, traceback}
#                 d {}                    the end of an execution
import _signal
import base64
import builtins
import functools
import json
import os
import re
import signal
import struct
import sys
import threading
import time
import warnings
import zlib

FRAME_MAX = 32 * 1024 * 1024
HOLD_MAX = 64 * 1024
ANSI = re.compile(r'\x1b\[[0-9;]*[A-Za-z]')


class Unrepresentable(Exception):
    """A value that strict JSON cannot hold."""


def plain(value, depth=0):
    """`value` as strict JSON has it: finite numbers, distinct string keys, a limited depth."""
    if depth > 100:
        raise Unrepresentable('nested too deeply')
    if value is None or isinstance(value, (str, bool)):
        return value
    if type(value).__module__ == 'numpy' and hasattr(value, 'item') and not getattr(value, 'shape', None):
        value = value.item()
    if isinstance(value, int):
        if abs(value) >= 1 << 1023:
            raise Unrepresentable('a number out of range')
        return int(value)
    if isinstance(value, float):
        if value != value or value in (float('inf'), float('-inf')):
            raise Unrepresentable('not a finite number')
        return float(value)
    if isinstance(value, dict):
        members = {}
        for key, member in value.items():
            name = key if isinstance(key, str) else json.dumps(plain(key)) if isinstance(
                key, (int, float, bool, type(None))) else None
            if name is None or name in members:
                raise Unrepresentable('keys that are not distinct strings')
            members[name] = plain(member, depth + 1)
        return members
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    raise Unrepresentable(type(value).__name__)


class Channel:
    # Lone surrogates, which are no text, become question marks.
    encode = staticmethod(json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode)

    def __init__(self, fd):
        self.fd = fd
        self.muted = False
        self.received = b''
        self.held = b''  # frames that go along with the next one
        self.lock = threading.Lock()  # display() may be called by any thread
        self.sending = self.interrupted = False
        os.set_inheritable(fd, False)

    def _take(self, count):
        while len(self.received) < count:
            piece = os.read(self.fd, max(4096, count - len(self.received)))
            if not piece:
                os._exit(0)  # the agent has let go of us
            self.received += piece
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def receive(self):
        size = int.from_bytes(self._take(4), 'little')
        frame = self._take(size)
        return frame[:1], json.loads(frame[1:])

    def mute(self):
        """While a snapshot is prepared nobody listens."""
        self.muted = True

    def unmute(self):
        self.muted = False
        os.set_inheritable(self.fd, False)

    def send(self, kind, value, hold=False):
        """False: it is too large for a frame and was not sent. `hold`: it may go along with the next one."""
        if self.muted:
            return True
        payload = self.encode(value).encode('utf-8', 'replace')
        if len(payload) + 1 > FRAME_MAX:
            return False
        with self.lock:
            self.held += (len(payload) + 1).to_bytes(4, 'little') + kind + payload
        if not hold or len(self.held) > HOLD_MAX:
            self.flush()
        return True

    def flush(self):
        """An interrupt must not cut a frame: it waits, and see defer_interrupt()."""
        with self.lock:
            self.sending = True
            try:
                data, self.held = memoryview(self.held), b''
                while data:
                    data = data[os.write(self.fd, data):]
            finally:
                self.sending = False
        if self.interrupted:
            self.interrupted = False
            _signal.raise_signal(signal.SIGINT)

    def defer_interrupt(self):
        """True: a frame is being sent, and the signal comes again behind it."""
        self.interrupted = self.sending
        return self.sending

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd, self.held = -1, b''


# What a result may be, in the order in which a value's representations are told.
REPRESENTATIONS = (
    ('image/png', 'png'), ('image/jpeg', 'jpeg'), ('image/svg+xml', 'svg'), ('application/pdf', 'pdf'),
    ('text/html', 'html'), ('application/json', 'json'), ('text/latex', 'latex'), ('text/markdown', 'markdown'),
    ('application/javascript', 'javascript'))


class Results:
    """Turns values into result frames."""

    def __init__(self, channel):
        self.channel = channel
        self.too_large = 0

    def send(self, result, hold=False):
        if self.channel.fd >= 0 and not self.channel.send(b'r', result, hold):
            self.too_large += 1

    @staticmethod
    def _convert(name, data):
        if name == 'json':
            return plain(data)
        if isinstance(data, bytes):
            return base64.b64encode(data).decode('ascii')
        return ''.join(data) if isinstance(data, (list, tuple)) else str(data)

    def send_bundle(self, data, text_with_html, hold=False):
        """A MIME bundle; its text too if there is nothing else, or also beside html."""
        told = False
        for mime, name in REPRESENTATIONS:
            if data.get(mime) is None:
                continue
            try:
                value = self._convert(name, data[mime])
            except Unrepresentable:
                continue
            self.send({name: value}, hold)
            told = True
        text = data.get('text/plain')
        if text is not None and (not told or (text_with_html and data.get('text/html') is not None)):
            self.send({'text': self._convert('text', text)}, hold)

    def send_value(self, value, data):
        """The value of a cell's last expression, `data` being its MIME bundle. The cell's end is near."""
        if isinstance(value, (dict, list)):
            try:
                self.send({'json': plain(value)}, hold=True)
                return
            except Unrepresentable:
                pass
        self.send_bundle(data, text_with_html=True, hold=True)


class Picture:
    """The file that a figure saves its pixels in; becomes a PNG.

    Pillow tries five filters on each line, which takes as long as drawing and, for what figures consist of, makes
    the file larger than no filter does.
    """
    LINES = 16
    png = None

    def __init__(self, figure):
        self.figure = figure  # its resolution is another one while it is saved

    def write(self, pixels):
        import numpy
        height, width, _ = pixels.shape
        rows = numpy.asarray(pixels).reshape(height, -1)
        lines = numpy.zeros((self.LINES, 1 + 4 * width), numpy.uint8)  # the first byte is the filter: none
        data, compressor = [], zlib.compressobj(1)
        for at in range(0, height, self.LINES):  # a few at a time, in memory that is there: no second copy of the picture
            count = min(self.LINES, height - at)
            lines[:count, 1:] = rows[at:at + count]
            data.append(compressor.compress(lines[:count]))
        per_meter = int(self.figure.dpi / 0.0254 + 0.5)
        self.png = b'\x89PNG\r\n\x1a\n' + b''.join((
            self.chunk(b'IHDR', struct.pack('>2I5B', width, height, 8, 6, 0, 0, 0)),
            self.chunk(b'pHYs', struct.pack('>2IB', per_meter, per_meter, 1)),
            self.chunk(b'IDAT', b''.join(data) + compressor.flush()), self.chunk(b'IEND', b'')))

    def seek(self, *where):
        """There for matplotlib to take this for a file."""
        raise OSError('not a file')

    @staticmethod
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


class Figures:
    """matplotlib's figures as results. Nothing of it is imported unless user code does."""

    BACKEND = 'berm_figures'
    POPULATE_WRITE = 23  # MADV_POPULATE_WRITE

    def __init__(self, results):
        self.results = results
        self.hot = None  # of a snapshot: madvise(2), and [address, length, ...] of what a figure writes to, until 0
        os.environ.setdefault('MPLBACKEND', 'module://' + self.BACKEND)
        sys.meta_path.append(self)

    # The backend: Agg, with a show() that means us.
    def find_spec(self, name, path=None, target=None):
        from importlib.machinery import ModuleSpec
        return ModuleSpec(name, self) if name == self.BACKEND else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        from matplotlib.backends import backend_agg
        for name in ('FigureCanvas', 'FigureManager', 'new_figure_manager_given_figure', 'draw_if_interactive'):
            if hasattr(backend_agg, name):
                setattr(module, name, getattr(backend_agg, name))
        module.show = lambda *args, **kwargs: self.flush()

        def new_figure_manager(*args, **kwargs):
            self.copy_hot_pages()
            return backend_agg.new_figure_manager(*args, **kwargs)
        module.new_figure_manager = new_figure_manager

    def copy_hot_pages(self):
        """Before a context's first figure, in one go instead of by thousands of page faults. Only for speed."""
        hot, self.hot = self.hot, None
        if hot is None:
            return
        madvise, ranges = hot
        for i in range(0, len(ranges), 2):
            if ranges[i] == 0:
                break
            madvise(ranges[i], ranges[i + 1], self.POPULATE_WRITE)

    @staticmethod
    def png(figure):
        picture = Picture(figure)
        with drawn_once(figure):
            figure.savefig(picture, format='rgba')
        figure._berm_shown = True
        return picture.png

    def flush(self):
        """Sends every open figure and closes it, as each execution does at its end."""
        pyplot = sys.modules.get('matplotlib.pyplot')
        if pyplot is None or not hasattr(pyplot, 'get_fignums'):
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            if not getattr(figure, '_berm_shown', False):
                result = {'png': base64.b64encode(self.png(figure)).decode('ascii')}
                chart = figure_chart(figure)
                if chart is not None:
                    result['chart'] = chart
                self.results.send(result)
            pyplot.close(figure)


# Values of these have no attributes beyond their type's, and nobody can give the types any.
BUILT_IN = frozenset((type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset))


def has_no_printer(formatter, value):
    """Whether a formatter, not the one for plain text, has nothing to say of a value of a built-in type.

    What its lookup() finds out by reading eight traits and raising two exceptions.
    """
    kind = type(value)
    if kind not in BUILT_IN:
        return False
    traits = formatter._trait_values
    try:
        single, types, deferred = (traits[name] for name in ('singleton_printers', 'type_printers', 'deferred_printers'))
    except KeyError:  # not read yet, so made when they are
        return False
    if id(value) in single:
        return False
    return not (types or deferred) or not any(
        base in types or ('builtins', base.__name__) in deferred for base in kind.__mro__)


def usual_display():
    """What plain_text() compares with, before user code can have changed it."""
    from IPython.core import formatters
    from IPython.lib import pretty
    calls = {kind: kind.__call__ for kind in vars(formatters).values() if isinstance(kind, type)}
    return formatters.DisplayFormatter.format, calls, getattr(pretty, '_repr_pprint', False)


def plain_text(display, usual, value):
    """What the formatters make of an int or a str that none of them has been told anything of: its repr. Or None.

    Asking all of the dozen takes as long as the rest of the display.
    """
    kind, plain = type(value), display.formatters.get('text/plain')
    usual_format, calls, repr_printer = usual
    if (kind is not int and kind is not str) or 'format' in vars(display) or type(display).format is not usual_format \
            or type(plain).__name__ != 'PlainTextFormatter' or not plain.pprint:
        return None
    traits = plain._trait_values
    if traits.get('type_printers', {}).get(kind) is not repr_printer or id(value) in traits.get('singleton_printers', (id(value),)):
        return None
    for formatter in (display.ipython_display_formatter, display.mimebundle_formatter, *display.formatters.values()):
        if calls.get(type(formatter)) is not type(formatter).__call__ or (formatter is not plain and not has_no_printer(formatter, value)):
            return None
    try:
        return repr(value)
    except ValueError:  # more digits than Python prints
        return None


def unwrap_formatters():
    """Calls IPython's formatters, a dozen for each value, without the binding of their arguments to signatures.

    What is left out is what the package `decorator` does around catch_format_error(), half of the time of `1+1`, and
    for values of built-in types the search for what only other values can have.
    """
    from IPython.core import formatters
    catch = getattr(formatters.catch_format_error, '__wrapped__', None)
    by_methods = set()  # those that are their class's lookup() and its print_method

    def unwrapped(method):
        def call(self, *args, **kwargs):
            if type(self) in by_methods and has_no_printer(self, args[0]):
                return self._check_return(None, args[0])
            return catch(method, self, *args, **kwargs)
        return functools.wraps(method)(call)

    for kind in vars(formatters).values():
        if not isinstance(kind, type):
            continue
        method = getattr(vars(kind).get('__call__'), '__wrapped__', None)
        if catch is not None and method is not None:
            kind.__call__ = unwrapped(method)
        if issubclass(kind, formatters.BaseFormatter) and kind is not formatters.PlainTextFormatter:
            by_methods.add(kind)


# What IPython's own syntax is made of: magics, commands, help; escapes at the start of a line.
ESCAPES = re.compile(r'[%!?]|^\s*[,;/]')


def spare_tokenizer(manager):
    """A cell of one line without any of IPython's characters is not tokenized to look for its syntax.

    Longer ones are: it also finds bad indentation.
    """
    usual, transform = tuple(manager.token_transformers), manager.do_token_transforms

    def do_token_transforms(lines):
        if len(lines) == 1 and not ESCAPES.search(lines[0]) and tuple(manager.token_transformers) == usual:
            return lines
        return transform(lines)
    manager.do_token_transforms = do_token_transforms


def make_shell(results):
    """An IPython shell that tells `results`, keeps no history on disk and asks nobody anything."""
    from IPython.core import interactiveshell
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from traitlets import observe
    from traitlets.config import Config

    unwrap_formatters()
    usual = usual_display()

    class Publisher(DisplayPublisher):
        def publish(self, data, metadata=None, source=None, **kwargs):
            results.send_bundle(data, text_with_html=False)

        def clear_output(self, wait=False):
            pass

    class Hook(DisplayHook):
        value, prompt, short_way = None, '', None

        def __call__(self, result=None):
            """For an int, a str and None without asking for what nobody has set."""
            if self.short_way is None or not self.short_way(self, usual, result):
                super().__call__(result)

        def compute_format_data(self, result):
            self.value = result
            text = plain_text(self.shell.display_formatter, usual, result)
            return super().compute_format_data(result) if text is None else ({'text/plain': text}, {})

        def quiet(self):
            """Whether the cell ends with a semicolon: finding out takes a scan of all of its tokens."""
            parsed = self.shell.history_manager.input_hist_parsed
            return bool(parsed) and ';' in parsed[-1] and super().quiet()

        def write_output_prompt(self):
            self.prompt = '%sOut[%d]: ' % (self.shell.separate_out, self.shell.execution_count)

        def write_format_data(self, format_dict, md_dict=None):
            text = format_dict.get('text/plain')
            self.print(text is not None and ('\n' if '\n' in text else '') + text + '\n')
            value, self.value = self.value, None
            results.send_value(value, format_dict)

        def print(self, text):
            """Behind the prompt, all in one write. Lone surrogates are replaced, as in frames."""
            text, self.prompt = self.prompt + (text or ''), ''
            if text:
                sys.stdout.write(text.encode('utf-8', 'replace').decode())

        def finish_displayhook(self):
            self.print(self.shell.separate_out2)
            if self.shell.ast_node_interactivity == 'all':  # this need not be the cell's end
                results.channel.flush()

    class Shell(interactiveshell.InteractiveShell):
        display_pub_class = Publisher
        displayhook_class = Hook
        traceback_lines = None
        system = interactiveshell.InteractiveShell.system_raw  # its output streams; the other one asks for a terminal

        def init_profile_dir(self, profile_dir):
            self.profile_dir = profile_dir

        @observe('ipython_dir')
        def _ipython_dir_changed(self, change):
            """It would be made."""

        def _showtraceback(self, etype, evalue, stb):
            text = self.InteractiveTB.stb2text(stb)
            self.traceback_lines = ANSI.sub('', text).split('\n')
            print(text)

        def should_run_async(self, raw_cell, *, transformed_cell=None, preprocessing_exc_tuple=None):
            """Finding out takes a compilation: only for cells that may have an `await`, or `async for`."""
            words = raw_cell if transformed_cell is None else transformed_cell
            return ('await' in words or 'async' in words) and super().should_run_async(
                raw_cell, transformed_cell=transformed_cell, preprocessing_exc_tuple=preprocessing_exc_tuple)

        def ask_exit(self):
            raise SystemExit(0)

        def enable_matplotlib(self, gui=None):
            return gui, 'module://' + Figures.BACKEND

    class NoDirectory:  # IPython wants a place for a profile; it is never made, and nothing is put there
        location = security_dir = startup_dir = log_dir = pid_dir = static_dir = os.path.join(
            os.sep, 'nonexistent', 'ipython')

    class NoStore(dict):
        def uncache(self, *keys):
            pass

    if hasattr(interactiveshell, 'PickleShareDB'):
        interactiveshell.PickleShareDB = lambda root: NoStore()
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.ipython_dir = NoDirectory.location
    config.InteractiveShell.xmode = 'Context'
    # The traits that hold a directory's object do not take ours; nothing else looks at the type.
    Shell.profile_dir = None
    Shell.init_ipython_dir = lambda self, name: None
    shell = Shell.instance(config=config, profile_dir=NoDirectory())
    spare_tokenizer(shell.input_transformer_manager)
    return shell


def no_input(prompt='', *args, **kwargs):
    __tracebackhide__ = True
    from IPython.core.error import StdinNotImplementedError
    raise StdinNotImplementedError('input() cannot work here: nobody can answer while code runs')


def places_of_modules():
    """A hash of the names of what is installed: a snapshot has imported some of it already."""
    names = []
    for place in [*sys.path, getattr(sys.modules.get('site'), 'USER_SITE', None)]:
        try:
            names += [place or '', *(sorted(os.listdir(place)) if place else ())]
        except OSError:
            names.append(place)
    return hash('\0'.join(names))


def refresh_randomness():
    """Two interpreters of one snapshot must not guess each other. The seed of str hashes stays the same.

    OpenSSL has not been asked for random bytes yet, so its generator does not exist yet.
    """
    for name, refresh in (
            ('random', lambda module: module.seed()),
            # The state itself, as a seed would be hashed for half a millisecond.
            ('numpy.random', lambda module: module.set_state(
                ('MT19937', sys.modules['numpy'].frombuffer(os.urandom(624 * 4), 'u4'), 624))),
            ('multiprocessing.process', lambda module: setattr(module.current_process(), 'authkey', os.urandom(32))),
            ('tempfile', lambda module: setattr(module, '_name_sequence', None)),
            ('uuid', lambda module: setattr(module, '_node', None))):
        if name in sys.modules:
            refresh(sys.modules[name])


class Kernel:
    def __init__(self, fd):
        self.channel = Channel(fd)
        self.results = Results(self.channel)
        self.figures = Figures(self.results)
        self.executing = False
        self.places = places_of_modules()
        self.restored = False  # from a snapshot
        self.pid = os.getpid()
        self.keep_channel = False
        os.register_at_fork(after_in_child=self.after_fork)
        self.shell = make_shell(self.results)
        self.shell.loop_runner = self.run_coroutine
        self.cells = Cells(self.shell)
        self.shell.displayhook.short_way = self.cells.show
        self.shell.display_formatter.formatters['image/png'].for_type_by_name(
            'matplotlib.figure', 'Figure', self.figures.png)
        warnings.filterwarnings('ignore', message='To exit: use')  # sys.exit() is an error like others
        builtins.input = no_input
        import getpass
        getpass.getpass = no_input

    def after_fork(self):
        if not self.keep_channel:
            self.channel.close()

    def resume(self):
        """Goes on in the process that a snapshot was mapped into: all that a process has for itself is new."""
        self.keep_channel = False
        self.pid = os.getpid()
        self.channel.unmute()
        # Actions belong to the process; Python only remembers them. (The C module: no enums, fewer pages touched.)
        for signo in (signal.SIGPIPE, signal.SIGXFSZ):
            _signal.signal(signo, _signal.SIG_IGN)
        _signal.signal(signal.SIGINT, self.on_interrupt)
        refresh_randomness()
        self.restored = True
        self.serve()

    def run_coroutine(self, coroutine):
        """Top-level await. What an interrupt leaves behind must not go on in the next cell."""
        __tracebackhide__ = True
        from IPython.core.async_helpers import get_asyncio_loop
        loop = get_asyncio_loop()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            import asyncio
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    def on_interrupt(self, signo, frame):
        __tracebackhide__ = True
        if self.executing and not self.channel.defer_interrupt():
            raise KeyboardInterrupt

    def error_of(self, result):
        return result.error_before_exec or result.error_in_exec

    def run(self, code):
        """Executes, and returns what was raised."""
        error = None
        _signal.signal(signal.SIGINT, self.on_interrupt)
        self.shell.traceback_lines = None
        self.results.too_large = 0
        try:
            self.executing = True
            error = self.error_of(self.cells.run_cell(code))
            self.figures.flush()
        except BaseException as raised:  # an interrupt, or a figure that cannot be drawn
            error = error or raised
        finally:
            self.executing = False
        self.flush()
        if self.results.too_large and error is None:
            error = OverflowError('%d result(s) larger than %d MiB were not sent' % (
                self.results.too_large, FRAME_MAX >> 20))
        return error

    @staticmethod
    def flush():
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass
        if 'ctypes' in sys.modules:  # and what C code printed
            try:
                sys.modules['ctypes'].pythonapi.fflush(None)
            except (AttributeError, OSError):
                pass

    def execute(self, code):
        error = self.run(code)
        if os.getpid() != self.pid:  # user code forked: the copy has come to the end of what it was to do
            os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else int(bool(error)))
        if error is not None:
            self.send_error(error)
        self.channel.send(b'd', {})

    def send_error(self, error):
        name = type(error).__name__
        try:
            text = str(error)
        except Exception:
            text = ''
        lines = self.shell.traceback_lines or ['%s: %s' % (name, text) if text else name]
        told = {'ename': name, 'evalue': text, 'traceback': lines}
        if not self.channel.send(b'e', told):
            self.channel.send(b'e', {'ename': name, 'evalue': text[:65536], 'traceback': []})

    def become(self, settings):
        if self.restored and places_of_modules() != self.places:
            raise OSError('modules were installed since the snapshot was made')
        os.environ.clear()
        os.environ.update(settings['env'])
        os.environ.setdefault('MPLBACKEND', 'module://' + Figures.BACKEND)
        time.tzset()
        os.chdir(settings['cwd'])

    def serve(self):
        self.channel.send(b'P', {})
        while True:
            kind, value = self.channel.receive()
            if kind == b'X':
                self.execute(value['code'])
            elif kind == b'I':
                try:
                    self.become(value)
                except OSError as error:
                    self.channel.send(b'F', {'message': str(error)})
                    os._exit(1)
                self.channel.send(b'R', {})


def main(fd):
    try:
        kernel = Kernel(fd)
    except ImportError as error:
        Channel(fd).send(b'F', {'message': 'IPython cannot be imported: %s' % error})
        os._exit(1)
    kernel.serve()
