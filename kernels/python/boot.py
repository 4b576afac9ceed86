import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
def read(count):
    data = b''
    while len(data) < count:
        piece = os.read(3, count - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
kernel = {'__name__': 'berm_kernel'}
exec(compile(read(int.from_bytes(read(4), 'little'))[1:], '<berm kernel>', 'exec'), kernel)
del os, signal, read
kernel['main'](3)
