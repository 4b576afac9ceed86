# Makes the snapshot of a prepared Python kernel:
#   LD.SO --argv0 python3 /usr/bin/python3 -u -c 'exec(open(THIS).read())' SOURCE RESTORE OUT MODULE...
#
# By way of the dynamic linker, for then the kernel puts the heap high up (see restore.c about the program break).
# SOURCE is the kernel's text as the agent has it, RESTORE the program of restore.c. Runs where the snapshot will be
# used: inside of the image, while it is built. This process imports what contexts are going to want, tries it, and
# forks; the copy saves its registers and waits in a system call, and we write its memory down. restore.c maps it
# again in a process of a sandbox, which then goes on behind checkpoint() as the interpreter of a context.
import ctypes
import gc
import importlib
import mmap
import os
import struct
import subprocess
import sys
import time

MAGIC = 0x32306D7265427953
PAGE = 4096
READ, WRITE, EXECUTE = 1, 2, 4
SEGMENTS_MAX, SPECIALS_MAX, HOT_MAX = 4096, 6, 1024
FIGURE_RANGES_MAX = 1024
ZERO_RUN = 16 * PAGE  # shorter runs of zeros are written down: each run costs a mapping at each start
HEADER = struct.Struct('<10Q2IQ12Q16s2Q')
SEGMENT = struct.Struct('<4Q')
RANGE = struct.Struct('<2Q')

# void *checkpoint(state): state = { rsp, fs, mxcsr, fpu control word, rip }. Returns 1, later, in another process.
CHECKPOINT = bytes.fromhex(
    '55534154415541564157'              # push rbp, rbx, r12, r13, r14, r15
    '4989fc'                            # mov r12, rdi
    '410fae5c2410' '41d97c2414'         # stmxcsr [r12+16]; fnstcw [r12+20]
    '498d742408' 'bf03100000' 'b89e000000' '0f05'  # arch_prctl(ARCH_GET_FS, r12+8)
    '488d0512000000' '4989442418'       # [r12+24] = where to go on
    '49892424'                          # [r12] = rsp
    'b822000000' '0f05' 'ebf7'          # for (;;) pause()
    '415f415e415d415c5b5d'              # pop ...
    'b801000000' 'c3')                  # return 1


def source_hash(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def warm_up(kernel, modules):
    """Everything that the first cells of a context would wait for. Nothing of it stays visible."""
    for module in modules:
        importlib.import_module(module)
    for code in ('1 + 1', '1 / 0', 'x = = 1', 'print("x")', '[1]', 'display(1)', '!true',
                 'await __import__("asyncio").sleep(0)'):
        kernel.run(code)
    if 'pandas' in modules:
        kernel.run('import pandas\npandas.DataFrame({"a": [1]})')
    if 'matplotlib.pyplot' in modules:
        kernel.run('import matplotlib.pyplot as plt\nplt.plot([1, 2], label="x"); plt.title("x"); plt.legend();')
        kernel.run('plt.bar(["a"], [1]);')
    kernel.shell.reset(new_session=True, aggressive=False)
    kernel.shell.execution_count = 1
    kernel.shell.history_manager.reset()
    kernel.shell.last_execution_succeeded, kernel.shell.last_execution_result = True, None
    kernel.shell.traceback_lines = None
    for name in ('last_type', 'last_value', 'last_traceback'):
        if hasattr(sys, name):
            delattr(sys, name)
    # An event loop has descriptors.
    from IPython.core import async_helpers
    loop = async_helpers.get_asyncio_loop()
    loop.close()
    import asyncio
    asyncio.set_event_loop(None)
    for name in ('_asyncio_event_loop', '_asyncio_loop'):
        if getattr(async_helpers, name, None) is loop:
            setattr(async_helpers, name, None)


def mappings(pid):
    with open('/proc/%d/maps' % pid, encoding='utf-8') as maps:
        for line in maps:
            addresses, permissions, _, _, _, *name = line.split(None, 5)
            start, end = (int(part, 16) for part in addresses.split('-'))
            yield start, end, permissions, name[0].strip() if name else ''


def zero_runs(data):
    """(start, end, is_zero) of the pages of `data`, short runs of zeros counted as data."""
    zero = bytes(PAGE)
    kinds = [data[at:at + PAGE] == zero for at in range(0, len(data), PAGE)]
    runs = []
    for i, kind in enumerate(kinds):
        if runs and runs[-1][2] == kind:
            runs[-1][1] = (i + 1) * PAGE
        else:
            runs.append([i * PAGE, (i + 1) * PAGE, kind])
    merged = []
    for start, end, kind in runs:
        kind = kind and end - start >= ZERO_RUN
        if merged and merged[-1][2] == kind:
            merged[-1][1] = end
        else:
            merged.append([start, end, kind])
    return merged


class Writer:
    def __init__(self, out):
        self.out = out
        self.segments = []  # [start, length, offset, prot]
        self.offset = (HEADER.size + SEGMENTS_MAX * SEGMENT.size + HOT_MAX * RANGE.size + PAGE - 1) // PAGE * PAGE

    def add(self, start, data, length, prot):
        """`data` None: zeros.

        What may be read may be executed too: so a library's text and the constants around it are one mapping, and
        there are half as many to make at each start.
        """
        if prot == READ:
            prot = READ | EXECUTE
        last = self.segments[-1] if self.segments else None
        if last and last[0] + last[1] == start and last[3] == prot and (last[2] == 0) == (data is None):
            last[1] += length
        else:
            self.segments.append([start, length, 0 if data is None else self.offset, prot])
        if data is not None:
            self.out.seek(self.offset)
            self.out.write(data)
            self.offset += length


def write_memory(writer, pid):
    """Returns (specials, end of the stack)."""
    specials, stack_end = [], 0
    with open('/proc/%d/mem' % pid, 'rb', buffering=0) as memory:
        for start, end, permissions, name in mappings(pid):
            if name == '[vsyscall]':
                continue
            if name.startswith(('[vdso', '[vvar')):
                specials.append((start, end - start, name))
                continue
            if permissions[3] == 's' and 'w' in permissions:
                sys.exit('a shared writable mapping: ' + name)
            if name == '[stack]':
                stack_end = end
            prot = sum(bit for letter, bit in zip(permissions, (READ, WRITE, EXECUTE)) if letter != '-')
            if not prot:
                writer.add(start, None, end - start, 0)
                continue
            memory.seek(start)
            data = memory.read(end - start)
            if len(data) != end - start:
                sys.exit('cannot read the mapping ' + name)
            for first, last, is_zero in zero_runs(data):
                writer.add(start + first, None if is_zero else data[first:last], last - first, prot)
    return specials, stack_end


def wait_for_checkpoint(pid, state):
    with open('/proc/%d/mem' % pid, 'rb', buffering=0) as memory:
        while True:
            with open('/proc/%d/syscall' % pid, encoding='ascii') as syscall:
                in_pause = syscall.read().split()[0] == '34'
            memory.seek(state)
            rsp, fs, mxcsr, fpu, rip = struct.unpack('<QQIIQ', memory.read(32))
            if in_pause and rsp:
                return rsp, fs, mxcsr, fpu & 0xFFFF, rip
            time.sleep(0.01)


class Trial:
    """A context started from the snapshot, as the agent does it."""

    def __init__(self, path, restore, source):
        import socket
        self.socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            null = os.open('/dev/null', os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.dup2(theirs.fileno(), 3)
            os.execv(restore, ['python3', path, '%x' % source_hash(source)])
        theirs.close()

    def receive(self):
        size = int.from_bytes(self.socket.recv(4, 0x100), 'little')  # MSG_WAITALL
        frame = self.socket.recv(size, 0x100) if size else b''
        if not frame:
            sys.exit('the snapshot does not work')
        return frame[:1]

    def send(self, frame):
        self.socket.sendall(len(frame).to_bytes(4, 'little') + frame)

    def become(self):
        import json
        if self.receive() != b'P':
            sys.exit('the snapshot does not work')
        self.send(b'I' + json.dumps({'cwd': '/', 'env': dict(os.environ)}).encode())
        if self.receive() != b'R':
            sys.exit('the snapshot does not work')

    def run(self, code):
        import json
        self.send(b'X' + json.dumps({'code': code}).encode())
        while self.receive() != b'd':
            pass

    def written(self, segments):
        """{page: end of its segment} of what it has written to."""
        pages = {}
        with open('/proc/%d/pagemap' % self.pid, 'rb', buffering=0) as pagemap:
            for start, length, _, prot in segments:
                if not prot & WRITE:
                    continue
                pagemap.seek(start // PAGE * 8)
                data = pagemap.read(length // PAGE * 8)
                for i, (entry,) in enumerate(struct.iter_unpack('<Q', data)):
                    if entry >> 63 and not entry >> 61 & 1:  # present, and not the file's: it was written to
                        pages[start + i * PAGE] = start + length
        return pages

    def end(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        self.socket.close()


def ranges_of(pages, ranges_max):
    """`pages` in ranges, the small gaps among them filled."""
    for gap in (0, 1, 2, 4, 8, 16, 64):
        found = []
        for page, end in sorted(pages.items()):
            if found and page - found[-1][0] - found[-1][1] <= gap * PAGE and found[-1][2] == end:
                found[-1][1] = page + PAGE - found[-1][0]
            else:
                found.append([page, PAGE, end])
        if len(found) <= ranges_max:
            return [(start, length) for start, length, _ in found]
    return []


def hot_ranges(path, restore, source, segments, figures):
    """What a context writes to until its first result, and what it does beyond that for its first figure."""
    trial = Trial(path, restore, source)
    trial.become()
    trial.run('print(1)\n1+1')
    first = trial.written(segments)
    figure = {}
    if figures:
        trial.run('import matplotlib.pyplot as plt\nplt.plot([1, 2]);')
        figure = trial.written(segments)
    trial.end()
    return (ranges_of(first, HOT_MAX),
            ranges_of({page: end for page, end in figure.items() if page not in first}, FIGURE_RANGES_MAX))


def patch(out, segments, address, data):
    """Changes what the snapshot has at an address."""
    for start, length, offset, _ in segments:
        if offset and start <= address and address + len(data) <= start + length:
            out.seek(offset + address - start)
            out.write(data)
            return
    sys.exit('a table is not in the snapshot')


def write_snapshot(pid, state, figures, source, restore, path):
    """`figures`: where the table is that Figures.hot has, or None."""
    rsp, fs, mxcsr, fpu, rip = wait_for_checkpoint(pid, state)
    with open(path + '.new', 'wb') as out:
        writer = Writer(out)
        specials, stack_end = write_memory(writer, pid)
        vdso, vdso_size = next((start, size) for start, size, name in specials if name == '[vdso]')
        if len(writer.segments) > SEGMENTS_MAX or len(specials) > SPECIALS_MAX:
            sys.exit('too many mappings')
        cpu_hash, vdso_hash = struct.unpack('<QQ', subprocess.run(
            [restore, '-', '%x' % vdso_size], stdout=subprocess.PIPE, check=True).stdout)
        ranges = [number for start, size, _ in specials for number in (start, size)]
        ranges += [0] * (2 * SPECIALS_MAX - len(ranges))
        out.truncate(writer.offset)
        out.seek(0)
        out.write(HEADER.pack(MAGIC, source_hash(source), cpu_hash, vdso_hash, vdso, vdso_size, rsp, rip, fs, stack_end,
                              mxcsr, fpu, len(specials), *ranges, b'python3', len(writer.segments), 0))
        for segment in writer.segments:
            out.write(SEGMENT.pack(*segment))
        if figures:
            patch(out, writer.segments, figures, bytes(FIGURE_RANGES_MAX * RANGE.size))
    hot, figure_hot = hot_ranges(path + '.new', restore, source, writer.segments, figures)
    with open(path + '.new', 'r+b') as out:
        if figures:
            patch(out, writer.segments, figures, b''.join(RANGE.pack(*place) for place in figure_hot))
        out.seek(HEADER.size - 8)
        out.write(struct.pack('<Q', len(hot)))
        out.seek(HEADER.size + SEGMENTS_MAX * SEGMENT.size)
        for place in hot:
            out.write(RANGE.pack(*place))
    os.rename(path + '.new', path)
    for name, ranges in (('hot', hot), ("a figure's", figure_hot)):
        print('%d %s ranges of %d pages' % (len(ranges), name, sum(length for _, length in ranges) // PAGE))
    print('%s: %d MiB in %d segments' % (path, writer.offset >> 20, len(writer.segments)))


def table_of_figures(kernel):
    """Room for what will be known when the snapshot is there; not zeros, or it would not be written down."""
    table = (ctypes.c_uint64 * (2 * FIGURE_RANGES_MAX))(*[1] * (2 * FIGURE_RANGES_MAX))
    madvise = ctypes.PyDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    kernel.figures.hot = madvise, table
    return ctypes.addressof(table)


def make(source_path, restore, path, *modules):
    with open(source_path, 'rb') as file:
        source = file.read()
    import socket
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), 3)
    kernel_module = {'__name__': 'berm_kernel'}
    exec(compile(source, '<berm kernel>', 'exec'), kernel_module)
    kernel = kernel_module['Kernel'](3)
    quiet = os.open('/dev/null', os.O_RDWR)
    told = os.dup(1)
    os.dup2(quiet, 1)
    kernel.channel.mute()
    warm_up(kernel, modules)
    code = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(CHECKPOINT)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    checkpoint = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(address)
    state = (ctypes.c_uint64 * 4)()
    place = ctypes.addressof(state)
    figures = table_of_figures(kernel) if 'matplotlib.pyplot' in modules else None
    sys.argv = ['-c']
    sys.path[0] = ''
    if len(os.listdir('/proc/self/task')) != 1:
        sys.exit('there are threads, which no snapshot can hold')
    gc.collect()
    gc.freeze()
    kernel.keep_channel = True
    pid = os.fork()
    if pid == 0:
        os.dup2(quiet, 0)
        os.dup2(quiet, 2)
        os.closerange(4, 1024)
        checkpoint(place)
        kernel.resume()
    os.dup2(told, 1)
    write_snapshot(pid, place, figures, source, restore, path)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os._exit(0)


make(*sys.argv[1:])
